"""What a head is: an output with its label, losses, predictions and metrics."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.config.models.heads import HeadConfig, TaskSpace
from hvdrec.losses.base import LossBatch, Replicas
from hvdrec.ops.policy import Policy, resolve

Tensors = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class StepRows:
    """What the losses of all heads know of a batch; see `LossBatch`.

    Attributes:
        arrays: The packed batch.
        training: False in evaluation.
        step: int64 scalar, the global step.
        replicas: The ranks, in training on several.
        policy: Which implementations compute them.
    """

    arrays: Tensors
    training: bool
    step: tf.Tensor
    replicas: Replicas | None = None
    policy: Policy = dataclasses.field(default_factory=resolve)


class EvaluatedRows(NamedTuple):
    """What metrics read of a batch; see `hvdrec.metrics.base.EvalBatch`."""

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    ids: dict[str, np.ndarray]


class Head(abc.ABC):
    """One output of a model; a model with one output is a model with one head.

    Attributes:
        config: What the config says of it.
    """

    #: What it may predict, without the suffix.
    names: tuple[str, ...]

    def __init__(self, config: HeadConfig) -> None:
        """Takes what the config says."""
        self.config = config

    @abc.abstractmethod
    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors.

        Args:
            outputs: What the model's `forward` gave.

        Returns:
            Tensors by some of `names`; `named` gives the names they have outside.
        """

    @abc.abstractmethod
    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """The rows its losses are computed over.

        Args:
            outputs: What the model's `forward` gave.
            rows: The batch.
        """

    def evaluated(self, outputs: Tensors, rows: StepRows) -> dict[str, tf.Tensor]:
        """What metrics read besides predictions, by some of `names`.

        Args:
            outputs: What the model's `forward` gave.
            rows: The batch.
        """
        del outputs, rows
        return {}

    def evaluated_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """What metrics compare its predictions with: the label [B], or ids of classes (int64 [B])."""
        return arrays[f"label/{self.config.label}"]

    def evaluated_rows(
        self,
        arrays: Mapping[str, np.ndarray],
        predictions: Mapping[str, np.ndarray],
        ids: Mapping[str, np.ndarray],
    ) -> EvaluatedRows:
        """A batch as metrics see it.

        Args:
            arrays: The packed batch.
            predictions: Those of all heads.
            ids: int64 [B] by feature or field.
        """
        return EvaluatedRows(self.evaluated_labels(arrays), self.own(predictions), dict(ids))

    def named(self, name: str) -> str:
        """The name a prediction has outside, as ``probs_ctr``."""
        return self.config.named(name)

    def own(self, predictions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Its predictions among those of all heads, by `names`."""
        return {name: predictions[self.named(name)] for name in self.names if self.named(name) in predictions}

    def output(self, outputs: Tensors, name: str) -> tf.Tensor:
        """One of its raw outputs, as the model names it: with the suffix."""
        return outputs[f"{name}{self.config.suffix}"]

    def _batch(self, rows: StepRows, logits: tf.Tensor, labels: tf.Tensor) -> LossBatch:
        """A `LossBatch` with what all kinds have in common."""
        return LossBatch(
            logits=logits,
            labels=labels,
            weights=self._weights(rows.arrays),
            session=lambda name: rows.arrays[f"id/{name}"],
            num_class=self.config.num_class,
            step=rows.step,
            replicas=rows.replicas,
            with_gradient=rows.training,
            policy=rows.policy,
        )

    def _weights(self, arrays: Tensors) -> tf.Tensor | None:
        """The rows' weights, float32 [B]; None where all are 1."""
        weights = arrays.get("sample_weight") if self.config.use_sample_weight else None
        if self.config.task_space is None:
            return weights
        factor = space_factor(self.config.task_space, arrays)
        return factor if weights is None else weights * factor


def space_factor(space: TaskSpace, arrays: Tensors) -> tf.Tensor:
    """What a task space multiplies the rows' weights with, float32 [B]."""
    if space.label:
        inside = arrays[f"label/{space.label}"] > 0.0
    else:
        inside = tf.equal(arrays[f"id/{space.name}"], text_id(space.value))
    return tf.where(inside, tf.constant(space.inside), tf.constant(space.outside))


def text_id(text: str) -> tf.Tensor:
    """The id a text has in ``id/<name>``, int64 scalar: its FarmHash fingerprint."""
    data = tf.constant([text.encode()])
    data = tf.reshape(tf.io.decode_raw(data, tf.uint8), [1, -1])
    found = tf.raw_ops.Fingerprint(data=data, method=tf.constant("farmhash64"))
    return tf.bitcast(found[0], tf.int64)
