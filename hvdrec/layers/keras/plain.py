"""What most of Keras's layers here are: a function without variables."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, Widths


class Plain(Layer):
    """A function of the inputs alone."""

    outputs: Widths

    def __init__(self, outputs: Widths, function: Callable[..., tf.Tensor]) -> None:
        """Takes the widths of what it gives, and the function."""
        super().__init__()
        self.outputs, self._function = outputs, function

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """The function of the inputs."""
        del run
        return self._function(inputs)
