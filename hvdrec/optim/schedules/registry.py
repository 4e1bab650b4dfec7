"""The schedule for each field of `learning_rate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.optim.schedules import (
    constant,
    cosine_decay,
    exponential_decay,
    manual_step,
    poly_decay,
    transformer,
)

BUILDERS: dict[str, Callable[[Any], Callable[[tf.Tensor], tf.Tensor]]] = {
    "constant_learning_rate": constant.build,
    "exponential_decay_learning_rate": exponential_decay.build,
    "manual_step_learning_rate": manual_step.build,
    "cosine_decay_learning_rate": cosine_decay.build,
    "poly_decay_learning_rate": poly_decay.build,
    "transformer_learning_rate": transformer.build,
}


def build_schedule(config: optimizer_pb2.LearningRate) -> Callable[[tf.Tensor], tf.Tensor]:
    """Builds a learning-rate schedule.

    Args:
        config: The `learning_rate` of an optimizer.

    Returns:
        A function from `global_step` (int64 scalar, the updates done before) to the rate (float32 scalar).

    Raises:
        ConfigError: No schedule is set, or its numbers are invalid.
    """
    name = config.WhichOneof("learning_rate")
    if name is None:
        raise ConfigError(f"learning_rate: no schedule is set; set one of {', '.join(BUILDERS)}")
    try:
        return BUILDERS[name](getattr(config, name))
    except ConfigError as error:
        raise ConfigError(f"learning_rate.{name}.{error}") from None
