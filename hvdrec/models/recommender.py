"""The whole trainable thing: embedding banks, the model on top of them, and its losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.config.variables import is_frozen
from hvdrec.features.fields import class_fields
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers import initializers
from hvdrec.layers.bank import BankTable, EmbeddingBank
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import VariableStore
from hvdrec.losses.base import LossBatch, Replicas
from hvdrec.losses.combine import LossSet, prediction
from hvdrec.models.base import EmbeddingModel, ModelBuild, TwoTowerModel, similarity
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.registry import build_model
from hvdrec.ops.library import default_implementation, named_implementation

Batch = Mapping[str, tf.Tensor]

#: From so many dense weights on a model trains by the native dense layers.
_LARGE = 32_768
#: Batches of more rows never make their pairs.
_FEW_ROWS = 512


@dataclasses.dataclass(frozen=True)
class ForwardResult:
    """What a forward pass gives.

    Attributes:
        logits: float32 [B] (one class) or [B, C]; the embeddings [B, D] of an `EmbeddingModel`.
        embedding_penalty: float32 scalar, `embedding_regularization` / 2 times the squared
            embeddings the rows looked up, added over the rows.
        towers: The users' and items' embeddings of a `TwoTowerModel`, float32 [B, D] each.
    """

    logits: tf.Tensor
    embedding_penalty: tf.Tensor
    towers: tuple[tf.Tensor, tf.Tensor] | None = None


class Recommender(tf.Module):
    """Banks, model and losses of one config.

    A training step calls `touch`, watches what it gives, calls `forward` and `losses`, and asks
    for the gradients of the touched rows of `trained_banks` and of `dense_trainable`.
    """

    def __init__(self, proto: Any, plan: FeaturePlan, seed: int, placement: Placement = HERE) -> None:
        """Makes all variables.

        Args:
            proto: The `EasyRecConfig` message.
            plan: Its feature plan.
            seed: Of the variables' first values.
            placement: Where they live.

        Raises:
            ConfigError: The model's config doesn't fit together.
        """
        super().__init__()
        config = proto.model_config
        self.plan = plan
        self.store = VariableStore(seed, lambda name: is_frozen(proto, name))
        self.banks = [
            EmbeddingBank(
                self.store,
                i,
                bank.dim,
                [
                    BankTable(
                        t.name,
                        t.rows,
                        initializers.from_config(t.initializer, initializers.embedding_default(t.dim)),
                    )
                    for t in bank.tables
                ],
                placement,
            )
            for i, bank in enumerate(plan.banks)
        ]
        self.model = build_model(ModelBuild(config, plan, self.store))
        self.loss_set = LossSet(config, self._loss_variable)
        self.num_class = int(config.num_class)
        self.classes = class_fields(proto)
        self.label = "" if self.classes else config.label_name or plan.labels[0]
        self._batch_size = int(proto.data_config.batch_size)
        self.embedding_regularization = float(config.embedding_regularization)

    @property
    def layer_implementation(self) -> str:
        """Which implementation of the dense layers trains this model.

        A small model costs little and trains in EasyRec's own order of rounding, so that its runs
        can be held against EasyRec's step by step: a ReLU whose input is 0 but for rounding makes
        two runs part for good. HVDREC_OPS decides otherwise.
        """
        weights = sum(math.prod(v.shape) for v in self.dense_trainable)
        if weights < _LARGE and not named_implementation():
            return "tensorflow"
        return default_implementation()

    @property
    def _few_pairs(self) -> bool:
        """Whether PAIR_WISE_LOSS makes its pairs, in EasyRec's order of rounding like the layers."""
        return self._batch_size <= _FEW_ROWS and self.layer_implementation == "tensorflow"

    def _loss_variable(self, name: str, shape: tuple[int, ...], value: float) -> tf.Variable:
        return self.store.create(name, shape, initializers.constant(value))

    @property
    def trained_banks(self) -> list[int]:
        """The banks that are trained, by index; the others are frozen."""
        return [i for i, bank in enumerate(self.plan.banks) if not bank.frozen]

    @property
    def dense_trainable(self) -> list[tf.Variable]:
        """Trainable variables apart from the banks."""
        return self.store.dense_trainable

    def touch(self, batch: Batch) -> list[tf.Tensor]:
        """For each bank the distinct rows of the batch, float32 [U, D]."""
        return [bank.touch(batch[f"bank{i}/rows"]) for i, bank in enumerate(self.banks)]

    def forward(self, batch: Batch, touched: Sequence[tf.Tensor], run: ForwardContext) -> ForwardResult:
        """Runs the model on a packed batch and the rows `touch` gave for it."""
        inputs = ModelInputs(self.plan, batch, touched)
        if isinstance(self.model, TwoTowerModel):
            towers = self.model.embed(inputs, run)
            return ForwardResult(similarity(*towers), self.embedding_regularization * inputs.squared, towers)
        logits = self.model.forward(inputs, run)
        if self.num_class == 1 and not isinstance(self.model, EmbeddingModel):
            logits = tf.squeeze(logits, axis=1)
        return ForwardResult(logits, self.embedding_regularization * inputs.squared)

    def losses(
        self,
        batch: Batch,
        output: ForwardResult,
        training: bool,
        step: tf.Tensor,
        replicas: Replicas | None = None,
    ) -> dict[str, tf.Tensor]:
        """The weighted losses by name, float32 scalars; their sum is the model's loss.

        With `replicas` losses that ask for it are computed over the rows of all ranks.
        """
        classes = [batch[f"id/{name}"] for name in self.classes]
        labels = classes[0] if classes else batch[f"label/{self.label}"]
        if self.num_class > 1 and not classes:
            labels = tf.cast(labels, tf.int32)
        return self.loss_set(
            LossBatch(
                logits=output.logits,
                labels=labels,
                weights=batch.get("sample_weight"),
                session=lambda name: batch[f"id/{name}"],
                num_class=self.num_class,
                step=step,
                towers=output.towers,
                row_sessions=classes[1] if len(classes) > 1 else None,
                replicas=replicas,
                with_gradient=training,
                pairs_impl="tensorflow" if self._few_pairs else None,
            ),
            training,
        )

    def evaluated_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """What metrics compare predictions with: the label [B], or ids of classes (int64 [B])."""
        if not self.classes:
            return arrays[f"label/{self.label}"]
        columns = np.stack([arrays[f"id/{name}"] for name in self.classes], axis=1)
        return np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1)

    def kernel_penalty(self) -> tf.Tensor:
        """`l2_regularization` / 2 times the squared kernels, float32 scalar."""
        terms = [r.scale * tf.nn.l2_loss(r.variable) for r in self.store.regularized]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def predictions(self, output: ForwardResult) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors by name (probs, logits, y, ...)."""
        if isinstance(self.model, EmbeddingModel):
            return self.model.predictions(output.logits)
        if isinstance(self.model, TwoTowerModel):
            assert output.towers is not None
            found = self.model.predictions(output.towers)
            return {**prediction(self.loss_set.loss_types, output.logits, self.num_class), **found}
        return prediction(self.loss_set.loss_types, output.logits, self.num_class)
