"""Losses beside those of the heads: what ties heads together, and what layers add."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from hvdrec.losses.base import LossBatch


@dataclasses.dataclass(frozen=True)
class TermBatch:
    """The rows a term is computed over.

    Attributes:
        outputs: What the model's `forward` gave, by name.
        heads: What the losses of each head see (labels, weights, logits), by the head's name.
        added: The losses that layers added, by name, float32 scalars.
        label: Gives the label of that field, float32 [B] (or [B, label_dim]).
        prediction: Gives the prediction of that name, as it is outside.
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
    """A summand of the model's loss that belongs to no head alone.

    Attributes:
        name: In logs and evaluations; no loss of a head may have it.
        compute: Gives the float32 scalar, all weights in it: a mean over the rows, and exactly 0
            with finite gradients where there are none.
        training_only: Whether evaluations go without.
        summed: Whether it is a sum over the rows: then the ranks' are added up as they are.
    """

    name: str
    compute: Callable[[TermBatch], tf.Tensor]
    training_only: bool = False
    summed: bool = False
