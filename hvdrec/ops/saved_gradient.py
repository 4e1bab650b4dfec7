"""The gradient of ops that compute it together with their value."""

from __future__ import annotations

import tensorflow as tf


@tf.custom_gradient
def scale_saved(upstream: tf.Tensor, saved: tf.Tensor) -> tuple[tf.Tensor, object]:
    """`upstream` times a gradient that an op has saved.

    Args:
        upstream: Scalar.
        saved: Any shape, of the same type.

    Returns:
        A tensor with the shape of `saved`.

    Raises:
        NotImplementedError: When the product itself is differentiated.
    """

    def refuse(*_: tf.Tensor) -> None:
        raise NotImplementedError("this op has no second derivative; use impl='tensorflow' if you need one")

    return upstream * saved, refuse
