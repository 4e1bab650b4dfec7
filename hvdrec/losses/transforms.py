"""Functions of labels that a config can name."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvdrec.config.losses import transform_name
from hvdrec.errors import ConfigError

_FUNCTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "abs": tf.math.abs,
    "exp": tf.math.exp,
    "expm1": tf.math.expm1,
    "identity": tf.identity,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "sigmoid": tf.math.sigmoid,
    "sign": tf.math.sign,
    "sqrt": tf.math.sqrt,
    "square": tf.math.square,
    "tanh": tf.math.tanh,
}


def transform(path: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function that `transform_fn` names: one of a fixed list, because names in a config are never
    imported.

    Args:
        path: Such as ``tf.math.log1p``; "" for none.

    Raises:
        ConfigError: The function is unknown.
    """
    if not path:
        return tf.identity
    name = transform_name(path)
    if name is None:
        known = ", ".join(f"tf.math.{each}" for each in _FUNCTIONS if each != "identity")
        raise ConfigError(f"transform_fn: {path!r} is not known; use one of {known}")
    return _FUNCTIONS[name]
