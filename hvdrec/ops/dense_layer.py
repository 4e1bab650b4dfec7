"""A fully connected layer with batch normalisation and ReLU, as one op for each of forward and backward."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.lookup import Columns


class Norm(NamedTuple):
    """Batch normalisation.

    Attributes:
        gamma: float32 [O].
        beta: float32 [O].
        epsilon: Added to the variance.
        weights: float32 [B], how often each row counts in the statistics; None means once.
    """

    gamma: tf.Tensor
    beta: tf.Tensor
    epsilon: float
    weights: tf.Tensor | None = None


class Repeated(NamedTuple):
    """Columns of a layer's input that are embeddings of F ids, one of each in a row.

    Attributes:
        classes: int32 [F, B], the result of `classes_of`: rows of a class have equal columns.
        starts: The first of the columns of each id, ascending.
        widths: Their numbers; they don't overlap.
    """

    classes: tf.Tensor
    starts: tuple[int, ...]
    widths: tuple[int, ...]


class DenseOutput(NamedTuple):
    """The layer's output.

    Attributes:
        y: float32 [B, O].
        mean: float32 [O], of the linear part's columns; has no gradient. None without a norm.
        variance: The same for their population variance. Both are 0 if B is 0.
    """

    y: tf.Tensor
    mean: tf.Tensor | None
    variance: tf.Tensor | None


def classes_of(index: tf.Tensor, columns: Columns | None = None) -> tf.Tensor:
    """Numbers the distinct ids of each column in the order of their first rows.

    Args:
        index: int32 [B, S], at least 0.
        columns: F of its columns; None for all.

    Returns:
        int32 [F, B].
    """
    first, count = columns or (0, -1)
    return load_ops().hvdrec_classes(index, first=first, columns=count)


def dense_layer(
    x: tf.Tensor,
    kernel: tf.Tensor | None,
    bias: tf.Tensor,
    norm: Norm | None,
    relu: bool,
    repeated: Repeated | None = None,
    *,
    impl: str = "native",
) -> DenseOutput:
    """relu(norm(x kernel + bias)) with the statistics of the batch (Ioffe and Szegedy 2015).

    Args:
        x: float32 [B, I].
        kernel: float32 [I, O]; None if x [B, O] is the product already.
        bias: float32 [O]. With a norm its gradient is exactly 0, because the mean cancels it.
        norm: The batch normalisation; None for none.
        relu: Whether to apply ReLU.
        repeated: Columns of x whose products ``native`` computes once for each class, where classes are few.
            The gradient of such columns is then the sum over the rows of a class, in the first of them, and
            0 in the others: for an x whose gradient is only summed over these rows, as that of a lookup.
        impl: ``native`` processes rows in cache-sized blocks, and gives the same bits for any number of
            threads; ``tensorflow`` is TensorFlow 1's arithmetic, where the bias's gradient is rounding noise.

    Returns:
        The layer's output and the batch's statistics.
    """
    return implementation(_IMPLEMENTATIONS, impl)(x, kernel, bias, norm, relu, repeated)


def _native(
    x: tf.Tensor,
    kernel: tf.Tensor | None,
    bias: tf.Tensor,
    norm: Norm | None,
    relu: bool,
    repeated: Repeated | None,
) -> DenseOutput:
    none = tf.zeros([0])
    parts = [x]
    if repeated is None:
        repeated = Repeated(tf.zeros([0, 0], tf.int32), (), ())
        if kernel is not None and kernel.shape[1] != 1:
            parts = _parts(x)
    out = load_ops().hvdrec_dense_layer(
        x=parts,
        kernel=tf.zeros([0, x.shape[1]]) if kernel is None else kernel,
        bias=bias,
        gamma=none if norm is None else norm.gamma,
        beta=none if norm is None else norm.beta,
        weights=none if norm is None or norm.weights is None else norm.weights,
        classes=repeated.classes,
        starts=repeated.starts,
        widths=repeated.widths,
        multiplies=kernel is not None,
        norm=norm is not None,
        relu=relu,
        epsilon=0.0 if norm is None else norm.epsilon,
    )
    return DenseOutput(out.y, None, None) if norm is None else DenseOutput(out.y, out.mean, out.variance)


def _parts(x: tf.Tensor) -> list[tf.Tensor]:
    """What x [B, I] is concatenated from, so that neither it nor its gradient is ever written down."""
    operation = x.op if tf.is_symbolic_tensor(x) else None
    if (
        operation is None
        or operation.type != "ConcatV2"
        or tf.get_static_value(operation.inputs[-1]) not in (1, -1)
    ):
        return [x]
    return list(operation.inputs[:-1])


tf.no_gradient("HvdrecClasses")


@tf.RegisterGradient("HvdrecDenseLayer")
def _gradient(op: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor]:
    *x, kernel, _, gamma, beta, weights, classes = op.inputs
    y, mean, variance, linear = op.outputs
    out = load_ops().hvdrec_dense_layer_grad(
        upstream=upstream,
        x=x,
        kernel=kernel,
        gamma=gamma,
        beta=beta,
        y=tf.zeros([0]) if op.get_attr("norm") else y,
        mean=mean,
        variance=variance,
        linear=linear,
        weights=weights,
        classes=classes,
        starts=op.get_attr("starts"),
        widths=op.get_attr("widths"),
        multiplies=op.get_attr("multiplies"),
        norm=op.get_attr("norm"),
        relu=op.get_attr("relu"),
        epsilon=op.get_attr("epsilon"),
    )
    gradients = (out.kernel_gradient, out.bias_gradient, out.gamma_gradient, out.beta_gradient)
    return [*out.x_gradient, *gradients, None, None]


def _tensorflow(
    x: tf.Tensor,
    kernel: tf.Tensor | None,
    bias: tf.Tensor,
    norm: Norm | None,
    relu: bool,
    repeated: Repeated | None,
) -> DenseOutput:
    y = tf.nn.bias_add(x if kernel is None else tf.matmul(x, kernel), bias)
    mean = variance = None
    if norm is not None:
        y, mean, variance = normalise(y, norm.gamma, norm.beta, norm.epsilon, norm.weights)
    return DenseOutput(tf.nn.relu(y) if relu else y, mean, variance)


def normalise(
    x: tf.Tensor,
    gamma: tf.Tensor | None,
    beta: tf.Tensor | None,
    epsilon: float,
    weights: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalisation, computed step by step as in TF1.

    TensorFlow's fused kernel is faster but noisier: the gradient of a bias before a batch norm is pure
    rounding noise, which Adam turns into full steps.

    Args:
        x: float32 [B, C]; B may be 0.
        gamma: float32 [C], None for 1.
        beta: float32 [C], None for 0.
        epsilon: Added to the variance.
        weights: float32 [B], at least 0: how often each row counts in mean and variance; None means once.

    Returns:
        float32 [B, C], and the columns' mean and population variance; both are 0 if no row counts.
    """
    mean, variance = _moments(x) if weights is None else _weighted_moments(x, weights)
    scale = tf.math.rsqrt(variance + epsilon)
    if gamma is not None:
        scale *= gamma
    shift = -mean * scale if beta is None else beta - mean * scale
    return x * scale + shift, mean, variance


def _moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    some = tf.shape(x)[0] > 0
    mean, variance = (tf.where(some, m, tf.zeros_like(m)) for m in tf.nn.moments(x, axes=[0]))
    return mean, variance


def _weighted_moments(x: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    shares = tf.math.divide_no_nan(weights, tf.reduce_sum(weights))[:, tf.newaxis]
    mean = tf.reduce_sum(shares * x, axis=0)
    # The gradient through the mean is 0, because the weighted differences from it sum to 0.
    differences = tf.math.squared_difference(x, tf.stop_gradient(mean))
    return mean, tf.reduce_sum(shares * differences, axis=0)


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}
