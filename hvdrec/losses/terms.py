"""Losses outside heads: losses across heads, and losses added by layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from hvdrec.losses.base import LossBatch


@dataclasses.dataclass(frozen=True)
class TermBatch:
    """The rows of a term.

    Attributes:
        outputs: The results of the model's `forward`, by name.
        heads: The inputs of each head's losses (labels, weights, logits), by the head's name.
        added: The losses that layers added, by name, float32 scalars.
        label: Returns the label of that field, float32 [B] (or [B, label_dim]).
        prediction: Returns the prediction of that full name.
        arrays: The packed batch.
        training: False in evaluation.
    """

    outputs: Mapping[str, tf.Tensor]
    heads: Mapping[str, LossBatch]
    added: Mapping[str, tf.Tensor]
    label: Callable[[str], tf.Tensor]
    prediction: Callable[[str], tf.Tensor]
    arrays: Mapping[str, tf.Tensor]
    training: bool


@dataclasses.dataclass(frozen=True)
class LossTerm:
    """A term of the model's loss that doesn't belong to a single head.

    Attributes:
        name: Its name in logs and evaluations; must differ from all heads' losses.
        compute: Computes the float32 scalar, including all weights: a mean over the rows, and exactly 0 with
            finite gradients without rows.
        training_only: Whether evaluations exclude it.
        summed: Whether it is a sum over the rows, which is summed over the ranks without weights.
    """

    name: str
    compute: Callable[[TermBatch], tf.Tensor]
    training_only: bool = False
    summed: bool = False
