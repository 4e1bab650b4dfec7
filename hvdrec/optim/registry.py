"""Which optimizer each field of `optimizer_config` builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.optim import adagrad, adam, adamw, ftrl, lazy_adam, momentum, momentumw, rms_prop, sgd
from hvdrec.optim.base import Optimizer

BUILDERS: dict[str, Callable[[Any], Optimizer]] = {
    "adam_optimizer": adam.build,
    "lazy_adam_optimizer": lazy_adam.build,
    "adamw_optimizer": adamw.build,
    "adagrad_optimizer": adagrad.build,
    "momentum_optimizer": momentum.build,
    "momentumw_optimizer": momentumw.build,
    "rms_prop_optimizer": rms_prop.build,
    "ftrl_optimizer": ftrl.build,
    "sgd_optimizer": sgd.build,
}

#: Optimizers that exist only in PAI's and DeepRec's TensorFlow, and what to take instead.
REFUSED = {
    "adam_async_optimizer": "adam_optimizer or lazy_adam_optimizer",
    "adam_asyncw_optimizer": "adamw_optimizer",
}


def build_optimizer(config: optimizer_pb2.Optimizer) -> Optimizer:
    """Builds an optimizer.

    Args:
        config: One `optimizer_config`.

    Returns:
        The optimizer; its slots aren't made yet.

    Raises:
        ConfigError: None is set, or it (or a field of it) isn't supported.
    """
    name = config.WhichOneof("optimizer")
    if name is None:
        raise ConfigError(f"optimizer_config: no optimizer is set; set one of {', '.join(BUILDERS)}")
    if name in REFUSED:
        raise ConfigError(
            f"optimizer_config.{name}: exists only in PAI's TensorFlow; use {REFUSED[name]} instead"
        )
    if config.use_moving_average:
        raise ConfigError("optimizer_config.use_moving_average: is not supported; set it to false")
    if config.HasField("embedding_learning_rate_multiplier") and (
        config.embedding_learning_rate_multiplier != 1.0
    ):
        raise ConfigError("optimizer_config.embedding_learning_rate_multiplier: is not supported; remove it")
    try:
        return BUILDERS[name](getattr(config, name))
    except ConfigError as error:
        raise ConfigError(f"optimizer_config.{name}.{error}") from None
