"""Computes the Python text of a config on tensors, after its shapes have been checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.backbone.functions import FUNCTIONS
from hvdrec.layers.tensors import joined, rejoined, stacked


def _sum(inputs: Sequence[Any]) -> Any:
    """The sum of tensors of one shape."""
    columns = {x.shape[1] if x.shape.rank == 2 else None for x in inputs}
    if columns != {None} and len(columns) == 1 and len(rejoined(inputs)) == 1:
        return tf.reduce_sum(stacked(inputs), axis=1)
    return tf.add_n(inputs)


def _concat(values: Sequence[Any], axis: int) -> Any:
    """Tensors concatenated along an axis."""
    if axis in (1, -1) and all(value.shape.rank == 2 for value in values):
        return joined(values)
    return tf.concat(values, axis)


_OWN: dict[str, Callable[..., Any]] = {
    "tf.cast": lambda x, dtype: tf.cast(x, getattr(tf, dtype) if isinstance(dtype, str) else dtype),
    "tf.add_n": _sum,
    "tf.math.add_n": _sum,
    "tf.concat": _concat,
    "tf.div": tf.math.divide,
    "tf.identity": lambda x: tf.identity(x),
    "tf.stop_gradient": lambda x: tf.stop_gradient(x),
    "tf.clip_by_value": lambda x, clip_value_min, clip_value_max: tf.clip_by_value(
        x, clip_value_min, clip_value_max
    ),
    "tf.transpose": lambda x, perm: tf.transpose(x, perm),
}


def _function(name: str) -> Callable[..., Any]:
    """The TensorFlow function for the name in a config."""
    if name in _OWN:
        return _OWN[name]
    found: Any = tf
    short = name.rsplit(".", 1)[-1]
    # Some functions have moved to tf.math since TensorFlow 1.
    for module in (name.split(".")[1:-1], ["math"], ["nn"], ["linalg"]):
        found = tf
        for part in module:
            found = getattr(found, part)
        if hasattr(found, short):
            return getattr(found, short)
    raise AssertionError(name)


_FUNCTIONS = {name: _function(name) for name in FUNCTIONS}


class TensorOperations:
    """`hvdrec.config.backbone.text.Operations` on tensors."""

    def is_tensor(self, value: Any) -> bool:
        """Whether a value is a tensor."""
        return isinstance(value, tf.Tensor)

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """The result of a function; a list of tensors remains a list."""
        found = _FUNCTIONS[name](*arguments.values())
        return list(found) if isinstance(found, list | tuple) else found

    def binary(self, sign: str, left: Any, right: Any) -> Any:
        """Arithmetic."""
        return _SIGNS[sign](left, right)

    def negative(self, value: Any) -> Any:
        """-value."""
        return -value

    def item(self, value: Any, index: tuple[Any, ...]) -> Any:
        """``value[index]``."""
        return value[index]

    def concat(self, values: Sequence[Any], axis: int) -> Any:
        """Concatenates tensors along the last axis."""
        return _concat(values, axis)


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "**": lambda left, right: left**right,
    "@": tf.matmul,
}
