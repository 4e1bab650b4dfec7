"""The optimizer for each field of `optimizer_config`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config import support
from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.optim import (
    adagrad,
    adam,
    adam_async,
    adam_asyncw,
    adamw,
    ftrl,
    lazy_adam,
    momentum,
    momentumw,
    rms_prop,
    sgd,
)
from hvdrec.optim.base import Optimizer
from hvdrec.optim.grouped import Grouped
from hvdrec.optim.moving_average import MovingAverage

BUILDERS: dict[str, Callable[[Any], Optimizer]] = {
    "adam_optimizer": adam.build,
    "lazy_adam_optimizer": lazy_adam.build,
    "adam_async_optimizer": adam_async.build,
    "adam_asyncw_optimizer": adam_asyncw.build,
    "adamw_optimizer": adamw.build,
    "adagrad_optimizer": adagrad.build,
    "momentum_optimizer": momentum.build,
    "momentumw_optimizer": momentumw.build,
    "rms_prop_optimizer": rms_prop.build,
    "ftrl_optimizer": ftrl.build,
    "sgd_optimizer": sgd.build,
}


def build_optimizer(config: optimizer_pb2.Optimizer) -> Optimizer:
    """Builds an optimizer.

    Args:
        config: One `optimizer_config`.

    Returns:
        The optimizer, without its slots.

    Raises:
        ConfigError: No optimizer is set, or it (or a field of it) isn't supported.
    """
    name = config.WhichOneof("optimizer")
    if name is None:
        raise ConfigError(f"optimizer_config: no optimizer is set; set one of {', '.join(BUILDERS)}")
    if name not in BUILDERS:
        raise ConfigError(f"optimizer_config.{support.unsupported(name, support.OPTIMIZERS)}")
    try:
        optimizer = BUILDERS[name](getattr(config, name))
    except ConfigError as error:
        raise ConfigError(f"optimizer_config.{name}.{error}") from None
    return MovingAverage(optimizer, config.moving_average_decay) if config.use_moving_average else optimizer


def build_optimizers(
    configs: Sequence[optimizer_pb2.Optimizer], index_of: Callable[[tf.Variable], int]
) -> Optimizer:
    """Builds the optimizer for all of `optimizer_config`.

    Args:
        configs: One config, or several that divide the variables.
        index_of: Returns the index of the config that trains a variable.

    Raises:
        ConfigError: As `build_optimizer`.
    """
    built = [build_optimizer(config) for config in configs]
    return built[0] if len(built) == 1 else Grouped(built, index_of)
