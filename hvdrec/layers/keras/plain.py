"""The base of most Keras layers here: a function without variables."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, Widths


class Plain(Layer):
    """A function of the inputs alone."""

    outputs: Widths

    def __init__(self, outputs: Widths, function: Callable[..., tf.Tensor]) -> None:
        """Takes the output widths, and the function."""
        super().__init__()
        self.outputs, self._function = outputs, function

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Applies the function to the inputs."""
        del run
        return self._function(inputs)
