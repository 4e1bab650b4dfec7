"""The complete trainable module: embedding banks, the model on top of them, and its losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.variables import is_frozen
from hvdrec.errors import ConfigError
from hvdrec.features.fields import heads_of
from hvdrec.features.plan import FeaturePlan, Table
from hvdrec.layers import initializers
from hvdrec.layers.banks.strategy import Bank, BankLayout, BankTable
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.initializers import Initializer
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import VariableStore
from hvdrec.losses.base import Replicas
from hvdrec.losses.combine import LossSet
from hvdrec.losses.distillation import distillation_terms
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import ModelBuild, kernel_l2
from hvdrec.models.group_layers import GroupLayers
from hvdrec.models.heads.base import StepRows, space_factor
from hvdrec.models.heads.registry import build_head
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.matching import MatchingModel
from hvdrec.models.registry import build_model
from hvdrec.ops.policy import NATIVE, resolve
from hvdrec.ops.sum_of_squares import sum_of_squares
from hvdrec.ops.updates import add_scaled

Batch = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class ForwardResult:
    """The result of a forward pass.

    Attributes:
        outputs: The model's raw outputs by name, see `hvdrec.models.base.Model.forward`.
        embedding_penalty: float32 scalar, `embedding_regularization` / 2 times the squared looked-up
            embeddings, summed over the rows.
        added: The losses that layers added, by name, float32 scalars.
    """

    outputs: dict[str, tf.Tensor]
    embedding_penalty: tf.Tensor
    added: Mapping[str, tf.Tensor]


class Recommender(tf.Module):
    """Banks, model and losses of one config.

    A training step calls `touch`, watches its result, calls `forward` and `losses`, and computes the
    gradients of the touched rows of `trained_banks` and of `dense_trainable`.
    """

    def __init__(self, proto: Any, plan: FeaturePlan, seed: int, placement: Placement = HERE) -> None:
        """Creates all variables.

        Args:
            proto: The `EasyRecConfig` message.
            plan: The feature plan.
            seed: The seed of the variables' initial values.
            placement: The placement of the variables.

        Raises:
            ConfigError: The model's config is inconsistent.
        """
        super().__init__()
        config = proto.model_config
        self.plan = plan
        self.store = VariableStore(seed, lambda name: is_frozen(proto, name))
        self.strategy = placement.banks(_layouts(plan), seed)
        heads = heads_of(proto)
        self.heads = [build_head(head) for head in heads]
        self.group_layers = GroupLayers(plan, self.store, kernel_l2(config), _dropout(config))
        self.model = build_model(ModelBuild(config, plan, self.store, heads))
        self.loss_set = LossSet(heads, config.loss_weight_strategy, self._loss_variable)
        self.terms = [
            *self.model.loss_terms(),
            *distillation_terms(heads, lambda space, batch: space_factor(space, batch.arrays)),
            *self._added_terms(),
        ]
        self._check_terms()
        weights = sum(math.prod(v.shape) for v in self.dense_trainable)
        #: The implementations that the job uses.
        self.policy = resolve(weights, int(proto.data_config.batch_size), placement.own_kernels)
        self.embedding_regularization = float(config.embedding_regularization)

    def _loss_variable(self, name: str, shape: tuple[int, ...], value: float) -> tf.Variable:
        return self.store.create(name, shape, initializers.constant(value))

    @property
    def banks(self) -> tuple[Bank, ...]:
        """The embedding banks, in the order of the plan."""
        return self.strategy.banks

    @property
    def trained_banks(self) -> list[int]:
        """The trained banks, by index; the others are frozen."""
        return [i for i, bank in enumerate(self.plan.banks) if not bank.frozen]

    @property
    def dense_trainable(self) -> list[tf.Variable]:
        """Trainable variables outside the banks."""
        return self.store.dense_trainable

    def touch(self, batch: Batch) -> list[tf.Tensor]:
        """The distinct rows of the batch in each bank, float32 [U, D]."""
        return self.strategy.gather([batch[f"bank{i}/rows"] for i in range(len(self.banks))])

    def forward(self, batch: Batch, touched: Sequence[tf.Tensor], run: ForwardContext) -> ForwardResult:
        """Runs the model on a packed batch and the rows returned by `touch`."""
        inputs = ModelInputs(self.plan, batch, touched, self.group_layers, run)
        self.group_layers.add_penalty(tf.shape(batch["dense"])[0], run)
        outputs = self.model.forward(inputs, run)
        return ForwardResult(outputs, self.embedding_regularization * inputs.all_squared, run.losses)

    def loss_names(self, training: bool) -> tuple[str, ...]:
        """The names of the results of `losses`."""
        terms = (term.name for term in self.terms if training or not term.training_only)
        return (*self.loss_set.names, *terms)

    @property
    def summed_losses(self) -> frozenset[str]:
        """The names of the losses that are sums over rows; all others are means."""
        return frozenset(term.name for term in self.terms if term.summed)

    def _added_terms(self) -> list[LossTerm]:
        """The losses that layers add, as terms."""

        def term(name: str, training_only: bool) -> LossTerm:
            return LossTerm(name, lambda batch: batch.added[name], training_only)

        return [term(added.name, added.training_only) for added in self.store.added_losses]

    def _check_terms(self) -> None:
        names = self.loss_names(training=True)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"model_config: two losses are named {twice[0]}; give one of them a loss_name")

    def losses(
        self,
        batch: Batch,
        output: ForwardResult,
        training: bool,
        step: tf.Tensor,
        replicas: Replicas | None = None,
    ) -> dict[str, tf.Tensor]:
        """The weighted losses by name, float32 scalars; their sum is the model's loss.

        With `replicas`, losses with `cross_replica` are computed over the rows of all ranks.
        """
        rows = StepRows(batch, training, step, replicas, self.policy)
        batches = [head.loss_batch(output.outputs, rows) for head in self.heads]
        found = self.loss_set(batches, training)
        shared = TermBatch(
            outputs=output.outputs,
            heads={head.config.name: each for head, each in zip(self.heads, batches, strict=True)},
            label=lambda name: batch[f"label/{name}"],
            prediction=lambda name: self.predictions(output)[name],
            arrays=batch,
            added=output.added,
            training=training,
        )
        terms = (term for term in self.terms if training or not term.training_only)
        return {**found, **{term.name: term.compute(shared) for term in terms}}

    def tower(self, side: str, plan: FeaturePlan, batch: Batch) -> dict[str, tf.Tensor]:
        """A matching model's predictions for only users or only items.

        Args:
            side: ``user`` or ``item``.
            plan: The side's plan; see `hvdrec.features.build.tower_plan`.
            batch: Packed by that plan.
        """
        if not isinstance(self.model, MatchingModel):
            raise TypeError("the model has no towers")
        run = ForwardContext(training=False, standard=True)
        inputs = ModelInputs(plan, batch, self.touch(batch), self.group_layers, run)
        return self.model.tower(side, inputs, run)

    def evaluated(self, batch: Batch, output: ForwardResult) -> dict[str, tf.Tensor]:
        """Inputs of metrics other than predictions, by name."""
        rows = StepRows(batch, False, tf.constant(0, tf.int64), None, self.policy)
        found = [(head, head.evaluated(output.outputs, rows)) for head in self.heads]
        return {head.named(name): tensor for head, each in found for name, tensor in each.items()}

    def means(self, output: ForwardResult) -> dict[str, tf.Tensor]:
        """Values whose means an evaluation reports, in addition to losses: float32 scalars by name."""
        return self.model.means(output.outputs)

    def kernel_penalty(self) -> tf.Tensor:
        """`l2_regularization` / 2 times the squared kernels, float32 scalar, without a gradient."""
        if self.policy.norms == NATIVE:
            by_scale: dict[float, list[tf.Tensor]] = {}
            for r in self.store.regularized:
                by_scale.setdefault(r.scale, []).append(tf.convert_to_tensor(r.variable))
            sums = {scale: sum_of_squares(values) for scale, values in by_scale.items()}
            terms = [tf.cast(0.5 * scale * total, tf.float32) for scale, total in sums.items()]
        else:
            terms = [r.scale * tf.nn.l2_loss(r.variable) for r in self.store.regularized]
        return tf.add_n(terms) if terms else tf.constant(0.0)

    def add_kernel_penalty(
        self, gradients: Sequence[tf.Tensor], share: tf.Tensor, together: Sequence[Sequence[int]]
    ) -> list[tf.Tensor]:
        """Adds the gradient of `kernel_penalty`, times `share`.

        Args:
            gradients: Of `dense_trainable`.
            share: float32 scalar.
            together: Indices of gradients that may wait for each other, each once.
        """
        scales = {r.variable.ref(): r.scale for r in self.store.regularized}
        found = list(gradients)
        for indices in together:
            own = [i for i in indices if self.dense_trainable[i].ref() in scales]
            variables = [self.dense_trainable[i] for i in own]
            sums = add_scaled(
                [gradients[i] for i in own],
                [tf.convert_to_tensor(v) for v in variables],
                share,
                [scales[v.ref()] for v in variables],
                impl=self.policy.norms,
            )
            for i, each in zip(own, sums, strict=True):
                found[i] = each
        return found

    def predictions(self, output: ForwardResult) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors by name (probs, logits, y, probs_ctr, ...)."""
        found = self.model.predictions(output.outputs)
        heads = [(head, head.predictions(output.outputs)) for head in self.heads]
        return {**{head.named(n): t for head, each in heads for n, t in each.items()}, **found}


def _dropout(config: Any) -> Any:
    return config.variational_dropout if config.HasField("variational_dropout") else None


def _layouts(plan: FeaturePlan) -> list[BankLayout]:
    def initializer(table: Table) -> Initializer:
        return initializers.from_config(table.initializer, initializers.embedding_default(table.dim))

    return [
        BankLayout(
            f"bank_{i}",
            bank.dim,
            tuple(BankTable(t.name, t.rows, initializer(t), t.rules) for t in bank.tables),
            trained=not bank.frozen,
        )
        for i, bank in enumerate(plan.banks)
    ]
