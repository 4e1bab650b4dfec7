"""Activation functions by the names EasyRec's users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from hvdrec.config.activations import NAMES, canonical
from hvdrec.errors import ConfigError
from hvdrec.layers import initializers
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore


class Activation(Protocol):
    """Maps [B, width] to [B, width]; `weights` are those of `BatchNorm`, for an activation that has one."""

    def __call__(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Maps [B, width] to [B, width]."""
        ...


_PLAIN: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "gelu": lambda x: tf.nn.gelu(x, approximate=True),
    "leaky_relu": tf.nn.leaky_relu,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "tanh": tf.math.tanh,
    "swish": tf.nn.silu,
    "silu": tf.nn.silu,
    "sigmoid": tf.math.sigmoid,
    "softplus": tf.math.softplus,
    "softsign": tf.nn.softsign,
    "softmax": tf.nn.softmax,
    "linear": tf.identity,
}


def build(name: str, store: VariableStore, scope: str, width: int) -> Activation:
    """Makes the activation `name` for [B, width] below the variable prefix `scope`.

    Raises:
        ConfigError: There is no such activation.
    """
    short = canonical(name)
    if short in _WITH_VARIABLES:
        return _WITH_VARIABLES[short](store, scope, width)
    if short not in _PLAIN:
        raise ConfigError(f"activation {name!r} is not known; use one of {', '.join(NAMES)}")
    function = _PLAIN[short]
    return lambda x, run, weights=None: function(x)


def normalises(name: str) -> bool:
    """Whether what the activation `name` makes of a row depends on the other rows of the batch."""
    return canonical(name) == "dice"


class _Dice(tf.Module):
    """p x + (1 - p) alpha x with p = sigmoid of the normalised x (Zhou et al. 2018, DIN, eq. 3)."""

    def __init__(self, store: VariableStore, scope: str, width: int) -> None:
        super().__init__()
        self.norm = BatchNorm(store, f"{scope}/dice/bn", width, epsilon=1e-9, scale=False, center=False)
        self.alpha = store.create(f"{scope}/dice/alpha", (width,), initializers.zeros)

    def __call__(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        p = tf.math.sigmoid(self.norm(x, run, weights))
        return x * (p + (1.0 - p) * self.alpha)


class _PRelu(tf.Module):
    """max(x, 0) + alpha min(x, 0) with a learnt alpha for each column (He et al. 2015)."""

    def __init__(self, store: VariableStore, scope: str, width: int) -> None:
        super().__init__()
        self.alpha = store.create(f"{scope}/prelu/alpha", (width,), initializers.zeros)

    def __call__(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        del run, weights
        return tf.nn.relu(x) - self.alpha * tf.nn.relu(-x)


_WITH_VARIABLES: dict[str, Callable[[VariableStore, str, int], Activation]] = {"dice": _Dice, "prelu": _PRelu}


def supported() -> tuple[str, ...]:
    """The names that `build` takes."""
    return (*_PLAIN, *_WITH_VARIABLES)
