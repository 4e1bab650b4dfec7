"""Knowledge distillation (`kd`): trains a prediction on a teacher's predictions for the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.config.models.heads import DistillationConfig, HeadConfig, TaskSpace
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.base import LossBatch
from hvdrec.losses.cross_entropy import EPSILON
from hvdrec.losses.reduction import weighted_mean
from hvdrec.losses.terms import LossTerm, TermBatch

#: Returns the factors of a task space on the rows' weights, float32 [B].
SpaceFactor = Callable[[TaskSpace, TermBatch], tf.Tensor]
#: Computes the loss of each row (or of each number of each row) from prediction and label.
_RowLoss = Callable[[tf.Tensor, tf.Tensor, DistillationConfig], tf.Tensor]


def distillation_terms(heads: Sequence[HeadConfig], factor: SpaceFactor) -> list[LossTerm]:
    """The losses that the elements of `kd` add to the model's.

    Each has only its own `loss_weight`; tower weights, the strategy and sample weights don't apply.

    Args:
        heads: The model's outputs.
        factor: Returns the row weights of a task space.

    Raises:
        ConfigError: A loss isn't supported, or a parameter is invalid.
    """
    return [_term(head, config, factor) for head in heads for config in head.distillations]


def _term(head: HeadConfig, config: DistillationConfig, factor: SpaceFactor) -> LossTerm:
    compute = _loss(config)

    def term(batch: TermBatch) -> tf.Tensor:
        own = batch.heads[head.name]
        weights = None if config.task_space is None else factor(config.task_space, batch)
        prediction = batch.prediction(head.named(config.prediction))
        label = batch.label(config.label)
        shared = dataclasses.replace(own, weights=weights, num_class=config.width).named(config.name)
        return config.weight * compute(dataclasses.replace(shared, logits=prediction, labels=label))

    return LossTerm(config.name, term)


def _loss(config: DistillationConfig) -> Callable[[LossBatch], tf.Tensor]:
    row_loss = _ROW_LOSSES.get(config.kind)
    if row_loss is None:
        try:
            found = registry.build(config.loss, registry.spec(config.loss.loss_type).num_class)
        except ConfigError as error:
            raise ConfigError(f"{config.path}.{error}") from None
        if found.variables:
            raise ConfigError(f"{config.path}: scale_logits is not supported in kd; remove it")
        whole = config.kind == "JRC_LOSS"
        return lambda batch: found.compute(
            dataclasses.replace(batch, labels=tf.cast(batch.labels, tf.int32)) if whole else batch
        )

    def compute(batch: LossBatch) -> tf.Tensor:
        values = row_loss(batch.logits, batch.labels, config)
        if values.shape.rank == 2:
            values = tf.reduce_mean(values, axis=1)
        return weighted_mean(values, batch.weights)

    return compute


def _as_logits(values: tf.Tensor, are_logits: bool, config: DistillationConfig) -> tf.Tensor:
    """Logits divided by the temperature, of logits or of probabilities (kept within 1e-7 of 0 and 1)."""
    if not are_logits:
        if config.width > 1 and config.kind != "BINARY_CROSS_ENTROPY_LOSS":
            values = tf.math.log(values + EPSILON)
        else:
            kept = tf.clip_by_value(values, EPSILON, 1.0 - EPSILON)
            values = tf.math.log(kept) - tf.math.log1p(-kept)
    return values / config.temperature


def _both(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """The logits of the prediction and of the teacher, each divided by the temperature."""
    return (
        _as_logits(prediction, config.prediction_is_logits, config),
        _as_logits(label, config.label_is_logits, config),
    )


def _probabilities(logits: tf.Tensor) -> tf.Tensor:
    """The probabilities of all classes [B, C], or of the two classes of one logit [B, 2]."""
    if logits.shape.rank == 2:
        return tf.nn.softmax(logits, axis=1)
    return tf.stack([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=1)


def binary_cross_entropy(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tf.Tensor:
    """BCE of sigmoid(teacher / T) and the prediction's logits / T, number by number."""
    student, teacher = _both(prediction, label, config)
    return tf.nn.sigmoid_cross_entropy_with_logits(tf.sigmoid(teacher), student)


def divergence(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tf.Tensor:
    """KL(teacher || student) of each row, float32 [B], both at least 1e-7 (`tf.keras.losses.KLD`)."""
    student, teacher = (
        tf.clip_by_value(_probabilities(logits), EPSILON, 1.0) for logits in _both(prediction, label, config)
    )
    return tf.reduce_sum(teacher * tf.math.log(teacher / student), axis=1)


def cross_entropy(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tf.Tensor:
    """`tf.compat.v1.losses.log_loss` of the two probabilities, number by number."""
    logits = _both(prediction, label, config)
    if config.width > 1:
        student, teacher = (tf.nn.softmax(each, axis=1) for each in logits)
        not_student = 1.0 - student
    else:
        student, teacher = (tf.sigmoid(each) for each in logits)
        not_student = tf.sigmoid(-logits[0])
    there = teacher * tf.math.log(student + EPSILON)
    return -there - (1.0 - teacher) * tf.math.log(not_student + EPSILON)


def squared_error(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tf.Tensor:
    """(teacher - prediction)^2 of the raw numbers."""
    del config
    return tf.square(label - prediction)


def classification(prediction: tf.Tensor, label: tf.Tensor, config: DistillationConfig) -> tf.Tensor:
    """BCE of the teacher's probabilities and the prediction as logits, number by number."""
    del config
    return tf.nn.sigmoid_cross_entropy_with_logits(label, prediction)


_ROW_LOSSES: dict[str, _RowLoss] = {
    "CLASSIFICATION": classification,
    "BINARY_CROSS_ENTROPY_LOSS": binary_cross_entropy,
    "KL_DIVERGENCE_LOSS": divergence,
    "CROSS_ENTROPY_LOSS": cross_entropy,
    "L2_LOSS": squared_error,
    "SIGMOID_L2_LOSS": squared_error,
}
