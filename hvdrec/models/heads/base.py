"""The base of heads: an output with its label, losses, predictions and metrics."""

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
    """The inputs of a batch for the losses of all heads; see `LossBatch`.

    Attributes:
        arrays: The packed batch.
        training: False in evaluation.
        step: int64 scalar, the global step.
        replicas: The ranks, when training on several.
        policy: The implementations to use.
    """

    arrays: Tensors
    training: bool
    step: tf.Tensor
    replicas: Replicas | None = None
    policy: Policy = dataclasses.field(default_factory=resolve)


class EvaluatedRows(NamedTuple):
    """The inputs of metrics from a batch; see `hvdrec.metrics.base.EvalBatch`."""

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    ids: dict[str, np.ndarray]


class Head(abc.ABC):
    """One output of a model; a model with one output is a model with one head.

    Attributes:
        config: Its description in the config.
    """

    #: Its possible predictions, without the suffix.
    names: tuple[str, ...]

    def __init__(self, config: HeadConfig) -> None:
        """Takes the description from the config."""
        self.config = config

    @abc.abstractmethod
    def predictions(self, outputs: Tensors) -> dict[str, tf.Tensor]:
        """EasyRec's prediction tensors.

        Args:
            outputs: The result of the model's `forward`.

        Returns:
            Tensors by some of `names`; `named` returns their full names.
        """

    @abc.abstractmethod
    def loss_batch(self, outputs: Tensors, rows: StepRows) -> LossBatch:
        """The rows for its losses.

        Args:
            outputs: The result of the model's `forward`.
            rows: The batch.
        """

    def evaluated(self, outputs: Tensors, rows: StepRows) -> dict[str, tf.Tensor]:
        """Inputs of metrics other than predictions, by some of `names`.

        Args:
            outputs: The result of the model's `forward`.
            rows: The batch.
        """
        del outputs, rows
        return {}

    def evaluated_labels(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The target of its metrics: the label [B], or ids of classes (int64 [B])."""
        return arrays[f"label/{self.config.label}"]

    def evaluated_rows(
        self,
        arrays: Mapping[str, np.ndarray],
        predictions: Mapping[str, np.ndarray],
        ids: Mapping[str, np.ndarray],
    ) -> EvaluatedRows:
        """A batch in the form for metrics.

        Args:
            arrays: The packed batch.
            predictions: The predictions of all heads.
            ids: int64 [B] by feature or field.
        """
        return EvaluatedRows(self.evaluated_labels(arrays), self.own(predictions), dict(ids))

    def named(self, name: str) -> str:
        """The full name of a prediction, such as ``probs_ctr``."""
        return self.config.named(name)

    def own(self, predictions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Its predictions among those of all heads, by `names`."""
        return {name: predictions[self.named(name)] for name in self.names if self.named(name) in predictions}

    def output(self, outputs: Tensors, name: str) -> tf.Tensor:
        """One of its raw outputs, found by the model's name: with the suffix."""
        return outputs[f"{name}{self.config.suffix}"]

    def _batch(self, rows: StepRows, logits: tf.Tensor, labels: tf.Tensor) -> LossBatch:
        """A `LossBatch` with the parts common to all kinds."""
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
        """The rows' weights, float32 [B]; None if all are 1."""
        weights = arrays.get("sample_weight") if self.config.use_sample_weight else None
        if self.config.task_space is None:
            return weights
        factor = space_factor(self.config.task_space, arrays)
        return factor if weights is None else weights * factor


def space_factor(space: TaskSpace, arrays: Tensors) -> tf.Tensor:
    """The factors of a task space on the rows' weights, float32 [B]."""
    if space.label:
        inside = arrays[f"label/{space.label}"] > 0.0
    else:
        inside = tf.equal(arrays[f"id/{space.name}"], text_id(space.value))
    return tf.where(inside, tf.constant(space.inside), tf.constant(space.outside))


def text_id(text: str) -> tf.Tensor:
    """The id of a text in ``id/<name>``, int64 scalar: its FarmHash fingerprint."""
    data = tf.constant([text.encode()])
    data = tf.reshape(tf.io.decode_raw(data, tf.uint8), [1, -1])
    found = tf.raw_ops.Fingerprint(data=data, method=tf.constant("farmhash64"))
    return tf.bitcast(found[0], tf.int64)
