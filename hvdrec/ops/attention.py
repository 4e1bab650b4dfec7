"""Target attention on flat rows: the first product of its DNN, and the sum of a history by softmax."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.segments import segment_softmax


def attention_product(
    query: tf.Tensor,
    values: tf.Tensor,
    lengths: tf.Tensor,
    kernel: tf.Tensor,
    *,
    padded: bool = False,
    padding: tf.Tensor | None = None,
    impl: str = "native",
) -> tf.Tensor:
    """[q, h, q - h, q * h] kernel for each element h and the query q of its row (Zhou et al. 2018, fig. 2).

    Args:
        query: float32 [B, D].
        values: float32 [E, D], the elements of all rows, in the order of the rows.
        lengths: int32 [B], the number of each row's elements; their sum is E.
        kernel: float32 [4 D, O].
        padded: Whether the elements are followed by a padded position of each row.
        padding: float32 [D], its value; None for zeros.
        impl: ``native`` multiplies an element by one matrix [D, O] of its row, without the concatenation, and
            gives the same bits for any number of threads; ``tensorflow`` computes the formula as written.

    Returns:
        float32 [E, O], with `padded` [E + B, O].
    """
    return implementation(_PRODUCTS, impl)(query, values, lengths, kernel, padded, padding)


def attend(
    scores: tf.Tensor, values: tf.Tensor, lengths: tf.Tensor, *, impl: str = "native"
) -> tuple[tf.Tensor, tf.Tensor]:
    """The sum of each row's elements, weighted by the softmax of their scores.

    Args:
        scores: float32 [E].
        values: float32 [E, D], the elements of all rows, in the order of the rows.
        lengths: int32 [B], the number of each row's elements; their sum is E.
        impl: ``native`` is one pass over the elements; ``tensorflow`` uses operations on segments.

    Returns:
        The sums, float32 [B, D], zeros for a row without elements; and the softmax, float32 [E].
    """
    return implementation(_ATTEND, impl)(scores, values, lengths)


def _native_product(
    query: tf.Tensor,
    values: tf.Tensor,
    lengths: tf.Tensor,
    kernel: tf.Tensor,
    padded: bool,
    padding: tf.Tensor | None,
) -> tf.Tensor:
    return load_ops().hvdrec_attention_product(
        query=query,
        values=values,
        lengths=lengths,
        padding=tf.zeros([0]) if padding is None else padding,
        kernel=kernel,
        padded=padded,
    )


@tf.RegisterGradient("HvdrecAttentionProduct")
def _product_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    query, values, lengths, padding, kernel = op.inputs
    out = load_ops().hvdrec_attention_product_grad(
        upstream=upstream,
        query=query,
        values=values,
        lengths=lengths,
        padding=padding,
        kernel=kernel,
        padded=op.get_attr("padded"),
    )
    return [out.query_gradient, out.values_gradient, None, out.padding_gradient, out.kernel_gradient]


def _tensorflow_product(
    query: tf.Tensor,
    values: tf.Tensor,
    lengths: tf.Tensor,
    kernel: tf.Tensor,
    padded: bool,
    padding: tf.Tensor | None,
) -> tf.Tensor:
    own = tf.repeat(query, lengths, axis=0)
    if padded:
        value = tf.zeros([query.shape[1]]) if padding is None else padding
        own = tf.concat([own, query], axis=0)
        values = tf.concat([values, tf.broadcast_to(value, tf.shape(query))], axis=0)
    return tf.matmul(tf.concat([own, values, own - values, own * values], axis=1), kernel)


def _native_attend(scores: tf.Tensor, values: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    found = load_ops().hvdrec_attend(scores=scores, values=values, lengths=lengths)
    return found.attended, found.shares


@tf.RegisterGradient("HvdrecAttend")
def _attend_gradient(
    op: tf.Operation, by_attended: tf.Tensor, by_shares: tf.Tensor
) -> list[tf.Tensor | None]:
    _, values, lengths = op.inputs
    out = load_ops().hvdrec_attend_grad(
        attended_upstream=by_attended,
        shares_upstream=by_shares,
        shares=op.outputs[1],
        values=values,
        lengths=lengths,
    )
    return [out.scores_gradient, out.values_gradient, None]


def _tensorflow_attend(
    scores: tf.Tensor, values: tf.Tensor, lengths: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    count = tf.shape(lengths)[0]
    rows = tf.repeat(tf.range(count), lengths)
    shares = segment_softmax(scores, rows, count)
    return tf.math.unsorted_segment_sum(shares[:, tf.newaxis] * values, rows, count), shares


_PRODUCTS = {"native": _native_product, "tensorflow": _tensorflow_product}
_ATTEND = {"native": _native_attend, "tensorflow": _tensorflow_attend}
