"""Keras's Add, Subtract, Multiply, Average, Maximum and Minimum."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.config.layers.keras.merging import one_shape
from hvdrec.layers.keras.plain import Plain
from hvdrec.layers.layer import LayerBuild


def _folded(
    function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> Callable[[Sequence[tf.Tensor]], tf.Tensor]:
    return lambda tensors: functools.reduce(function, tensors)


_FUNCTIONS: dict[str, Callable[[Sequence[tf.Tensor]], tf.Tensor]] = {
    "Add": _folded(tf.add),
    "Subtract": _folded(tf.subtract),
    "Multiply": _folded(tf.multiply),
    "Average": lambda tensors: functools.reduce(tf.add, tensors) / float(len(tensors)),
    "Maximum": _folded(tf.maximum),
    "Minimum": _folded(tf.minimum),
}


def _builder(class_name: str) -> Callable[[LayerBuild], Plain]:
    def build(build: LayerBuild) -> Plain:
        return Plain(one_shape(build.inputs), _FUNCTIONS[class_name])

    return build


#: By class name.
BUILDERS = {class_name: _builder(class_name) for class_name in _FUNCTIONS}
