"""Runs a loss on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.registry import SPECS
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.protos import easy_rec_model_pb2, loss_pb2, pipeline_pb2
from hvdrec.losses import registry
from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.combine import CreateVariable, LossSet

#: Every loss with its plain and its unusual parameters, as they stand in a config.
CONFIGS = (
    "loss_type: CLASSIFICATION",
    "loss_type: L2_LOSS",
    "loss_type: SIGMOID_L2_LOSS",
    "loss_type: CROSS_ENTROPY_LOSS",
    "loss_type: BINARY_CROSS_ENTROPY_LOSS",
    "loss_type: BINARY_FOCAL_LOSS",
    "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { gamma: 1.5 alpha: 0.25 label_smoothing: 0.1 }",
    "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { ohem_ratio: 0.3 }",
    "loss_type: F1_REWEIGHTED_LOSS",
    "loss_type: F1_REWEIGHTED_LOSS f1_reweighted_loss { f1_beta_square: 0.5 label_smoothing: 0.1 }",
    "loss_type: PAIR_WISE_LOSS",
    "loss_type: PAIR_WISE_LOSS pairwise_loss { margin: 0.5 temperature: 2 session_name: 'user' }",
    "loss_type: PAIRWISE_LOGISTIC_LOSS",
    "loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss "
    "{ session_name: 'user' ohem_ratio: 0.5 hinge_margin: 0.7 }",
    "loss_type: PAIRWISE_FOCAL_LOSS",
    "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss "
    "{ session_name: 'user' ohem_ratio: 0.5 hinge_margin: 1 alpha: 0.25 }",
    "loss_type: PAIRWISE_HINGE_LOSS",
    "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss "
    "{ session_name: 'user' ohem_ratio: 0.5 use_label_margin: false margin: 0.5 }",
    "loss_type: LISTWISE_RANK_LOSS",
    "loss_type: LISTWISE_RANK_LOSS listwise_rank_loss "
    "{ session_name: 'user' temperature: 2 label_is_logits: true transform_fn: 'tf.math.tanh' }",
    "loss_type: LISTWISE_DISTILL_LOSS",
    "loss_type: LISTWISE_DISTILL_LOSS listwise_distill_loss "
    "{ session_name: 'user' temperature: 2 label_clip_max_value: 10 }",
)
#: Those of several logits, with how many.
OF_SEVERAL = {
    "loss_type: JRC_LOSS jrc_loss { session_name: 'user' alpha: 0.3 same_label_loss: false }": 2,
    "loss_type: ZILN_LOSS ziln_loss { max_sigma: 3 }": 3,
}
#: Those of one of several heads.
OF_TOWERS = ("loss_type: ORDER_CALIBRATE_LOSS",)


def parse(text: str) -> loss_pb2.Loss:
    return text_format.Parse(text, loss_pb2.Loss())


def build(text: str, num_class: int = 1) -> Loss:
    return registry.build(parse(text), num_class)


def value_and_gradient(
    loss: Loss,
    logits: Any,
    labels: Any,
    weights: Any = None,
    sessions: Any = None,
    num_class: int = 1,
    of_amounts: bool = False,
) -> tuple[float, np.ndarray]:
    """The loss and its gradient by the logits."""
    tensor = tf.constant(logits, tf.float32)
    batch = LossBatch(
        logits=tensor,
        labels=tf.constant(labels, tf.float32 if num_class == 1 or of_amounts else tf.int32),
        weights=None if weights is None else tf.constant(weights, tf.float32),
        session=lambda name: tf.constant(sessions, tf.int64),
        num_class=num_class,
    )
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss.compute(batch)
    assert value.shape == ()
    assert value.dtype == tf.float32
    return float(value), tape.gradient(value, tensor).numpy()


def heads(model_config: easy_rec_model_pb2.EasyRecModel) -> tuple[HeadConfig, ...]:
    """The heads of a `model_config`, whose class goes by its block."""
    proto = pipeline_pb2.EasyRecConfig()
    proto.model_config.CopyFrom(model_config)
    block = model_config.WhichOneof("model")
    return next((s for s in SPECS.values() if s.block == block), ModelSpec()).heads(proto)


def loss_set(
    model_config: easy_rec_model_pb2.EasyRecModel, create_variable: CreateVariable | None = None
) -> LossSet:
    """The losses of a `model_config`."""

    def none(*_: object) -> tf.Variable:
        raise AssertionError("no variable is needed")

    return LossSet(heads(model_config), model_config.loss_weight_strategy, create_variable or none)
