"""Activation functions by their names in EasyRec."""

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
    """Maps [B, width] to [B, width]; `weights` are passed to `BatchNorm`, if the activation has one."""

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
    """Builds the activation `name` for [B, width] with the variable prefix `scope`.

    Raises:
        ConfigError: The activation is unknown.
    """
    short = canonical(name)
    if short in _WITH_VARIABLES:
        return _WITH_VARIABLES[short](store, scope, width)
    if short not in _PLAIN:
        raise ConfigError(f"activation {name!r} is not known; use one of {', '.join(NAMES)}")
    function = _PLAIN[short]
    return lambda x, run, weights=None: function(x)


def build_keras(name: str, store: VariableStore, scope: str, width: int) -> Activation:
    """Like `build`, with the variable names of EasyRec's Keras layers.

    Args:
        name: The activation.
        store: Creates the variables.
        scope: The activation's scope, such as ``backbone/mlp/layer_0/act``.
        width: Columns.
    """
    short = canonical(name)
    if short == "dice":
        return _Dice(
            store, scope, width, (f"{scope}/{store.automatic('batch_normalization')}", f"{scope}/dice_alpha")
        )
    if short == "prelu":
        return _PRelu(store, scope, width, f"{scope}/alpha")
    return build(name, store, scope, width)


def build_unnamed(name: str, store: VariableStore, scope: str, width: int) -> Activation:
    """Like `build_keras`, for an activation without a name in EasyRec; `scope` is its layer's."""
    short = canonical(name)
    own = store.automatic(short) if short in _WITH_VARIABLES else "act"
    return build_keras(name, store, f"{scope}/{own}", width)


def build_exact(name: str, store: VariableStore, scope: str, width: int) -> Activation:
    """Like `build_keras`, if Keras resolves the name: its ``gelu`` is exact, EasyRec's uses tanh."""
    if canonical(name) == "gelu":
        return lambda x, run, weights=None: tf.nn.gelu(x, approximate=False)
    return build_keras(name, store, scope, width)


def normalises(name: str) -> bool:
    """Whether the output of activation `name` for a row depends on the other rows of the batch."""
    return canonical(name) == "dice"


class _Dice(tf.Module):
    """p x + (1 - p) alpha x with p = sigmoid of the normalised x (Zhou et al. 2018, DIN, eq. 3)."""

    def __init__(
        self, store: VariableStore, scope: str, width: int, names: tuple[str, str] | None = None
    ) -> None:
        super().__init__()
        norm, alpha = names or (f"{scope}/dice/bn", f"{scope}/dice/alpha")
        self.norm = BatchNorm(store, norm, width, epsilon=1e-9, scale=False, center=False)
        self.alpha = store.create(alpha, (width,), initializers.zeros)

    def __call__(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        p = tf.math.sigmoid(self.norm(x, run, weights))
        return x * (p + (1.0 - p) * self.alpha)


class _PRelu(tf.Module):
    """max(x, 0) + alpha min(x, 0) with a learnt alpha per column (He et al. 2015)."""

    def __init__(self, store: VariableStore, scope: str, width: int, name: str = "") -> None:
        super().__init__()
        self.alpha = store.create(name or f"{scope}/prelu/alpha", (width,), initializers.zeros)

    def __call__(self, x: tf.Tensor, run: ForwardContext, weights: tf.Tensor | None = None) -> tf.Tensor:
        del run, weights
        return tf.nn.relu(x) - self.alpha * tf.nn.relu(-x)


_WITH_VARIABLES: dict[str, Callable[[VariableStore, str, int], Activation]] = {"dice": _Dice, "prelu": _PRelu}


def supported() -> tuple[str, ...]:
    """The names that `build` accepts."""
    return (*_PLAIN, *_WITH_VARIABLES)
