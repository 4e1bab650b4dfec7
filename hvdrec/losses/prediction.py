"""What a model predicts, given the losses it is trained by."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from hvdrec.losses.registry import LogitMeaning, entry


def outputs(loss_types: Iterable[int]) -> set[LogitMeaning]:
    """What the logit means under these losses."""
    return {entry(t).output for t in loss_types}


def prediction(loss_types: Iterable[int], logits: tf.Tensor, num_class: int) -> dict[str, tf.Tensor]:
    """EasyRec's prediction tensors.

    Args:
        loss_types: The model's losses, as `LossType` values.
        logits: float32 [B], or [B, C] where `num_class` is over 1.
        num_class: C.

    Returns:
        One class: ``probs`` and ``logits`` (float32 [B]) where a loss is binary, ``y`` (float32 [B])
        where one is a squared error. More: ``probs`` and ``logits`` (float32 [B, C]); ``y`` (int64
        [B]), the likeliest class, with ``probs_y`` and ``logits_y``, its probability and logit;
        ``probs_1`` and ``logits_1``, those of class 1.
    """
    if num_class > 1:
        return _many_classes(logits)
    found: dict[str, tf.Tensor] = {}
    meanings = outputs(loss_types)
    if LogitMeaning.PROBABILITY in meanings:
        found.update(probs=tf.sigmoid(logits), logits=logits)
    if LogitMeaning.VALUE in meanings:
        found["y"] = logits
    if LogitMeaning.SIGMOID_VALUE in meanings:
        found["y"] = tf.sigmoid(logits)
    return found


def _many_classes(logits: tf.Tensor) -> dict[str, tf.Tensor]:
    probabilities = tf.nn.softmax(logits, axis=1)
    return {
        "probs": probabilities,
        "logits": logits,
        "y": tf.argmax(logits, axis=1),
        "probs_y": tf.reduce_max(probabilities, axis=1),
        "logits_y": tf.reduce_max(logits, axis=1),
        "probs_1": probabilities[:, 1],
        "logits_1": logits[:, 1],
    }
