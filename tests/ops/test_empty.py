"""Ops of batches without rows, elements or weight: what they write, and their gradients, is exactly 0.

TensorFlow doesn't clear memory, so an element that an op leaves out has the content of a tensor before it. Here that is
NaN; ``test_poisoned.py`` ensures it for all memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.attention import attend, attention_product
from hvdrec.ops.circle import circle_loss
from hvdrec.ops.dense_layer import Norm, Repeated, dense_layer
from hvdrec.ops.in_batch_softmax import in_batch_softmax
from hvdrec.ops.listwise import hybrid, listwise
from hvdrec.ops.lookup import Columns, lookup_rows
from hvdrec.ops.lookup_sums import lookup_sums
from hvdrec.ops.multi_similarity import multi_similarity_loss
from hvdrec.ops.pair_products import pair_products, shared_pair_products
from hvdrec.ops.pairwise import pairwise
from hvdrec.ops.pairwise_bins import PairwiseBins
from hvdrec.ops.sum_of_squares import sum_of_squares
from hvdrec.ops.updates import add_scaled

#: No labels, ids or lengths.
NONE = np.zeros(0, np.int64)


class Case(NamedTuple):
    """Shapes of the inputs that have gradients, and what is computed of them."""

    shapes: Sequence[tuple[int, ...]]
    call: Callable[..., Sequence[tf.Tensor]]
    dtypes: Sequence[str] = ("float32",)


def _lengths(*lengths: int) -> tf.Tensor:
    return tf.constant(lengths, tf.int32)


def _dense(
    x: tf.Tensor,
    kernel: tf.Tensor | None,
    bias: tf.Tensor,
    *norm: tf.Tensor,
    weights: tf.Tensor | None = None,
    repeated: Repeated | None = None,
) -> list[tf.Tensor]:
    out = dense_layer(x, kernel, bias, Norm(*norm, 1e-3, weights) if norm else None, False, repeated)
    return [each for each in out if each is not None]


def _bins(scores: tf.Tensor) -> list[tf.Tensor]:
    """A rank without rows, beside others with a bin of each label, or without any."""
    found = []
    for gathered in ([[0.0, 0, 3, 3], [1.0, 0, 2, 2]], np.zeros((0, 4))):
        bins = PairwiseBins(scores, scores, "logistic", weights=scores)
        every, moments = bins.moments(tf.constant(gathered, tf.float64))
        found += [moments, *bins.loss(every, tf.zeros_like(moments))[:2]]
    return found


BOTH = ("float32", "float64")
CASES = {
    "attention_no_rows": Case(
        [(0, 4), (0, 4), (16, 3)], lambda q, v, k: [attention_product(q, v, _lengths(), k)]
    ),
    "attention_no_rows_padded": Case(
        [(0, 4), (0, 4), (16, 3), (4,)],
        lambda q, v, k, p: [attention_product(q, v, _lengths(), k, padded=True, padding=p)],
    ),
    "attention_no_elements": Case(
        [(3, 4), (0, 4), (16, 5)], lambda q, v, k: [attention_product(q, v, _lengths(0, 0, 0), k)]
    ),
    "attention_padding_unused": Case(
        [(3, 4), (0, 4), (16, 5), (4,)],
        lambda q, v, k, p: [attention_product(q, v, _lengths(0, 0, 0), k, padding=p)],
    ),
    "attend_no_rows": Case([(0,), (0, 4)], lambda s, v: attend(s, v, _lengths())),
    "attend_no_elements": Case([(0,), (0, 4)], lambda s, v: attend(s, v, _lengths(0, 0, 0))),
    "dense": Case([(0, 5), (5, 20), (20,)], _dense),
    "dense_repeated": Case(
        [(0, 5), (5, 20), (20,)],
        lambda *inputs: _dense(*inputs, repeated=Repeated(tf.zeros([1, 0], tf.int32), (0,), (4,))),
    ),
    "dense_norm": Case([(0, 5), (5, 20), (20,), (20,), (20,)], _dense),
    "dense_weights": Case(
        [(0, 70), (70, 20), (20,), (20,), (20,)], lambda *inputs: _dense(*inputs, weights=tf.zeros([0]))
    ),
    "dense_norm_only": Case([(0, 20), (20,), (20,), (20,)], lambda x, *norm: _dense(x, None, *norm)),
    "lookup_no_columns": Case(
        [(3, 4)], lambda rows: lookup_rows(rows, tf.zeros([5, 2], tf.int32), Columns(1, 0))
    ),
    "lookup_no_index": Case([(3, 4)], lambda rows: lookup_rows(rows, tf.zeros([0, 2], tf.int32))),
    "lookup_no_ids": Case([(3, 4)], lambda rows: lookup_rows(rows, tf.zeros([5, 2], tf.int32))),
    "lookup_no_rows": Case([(0, 4)], lambda rows: lookup_rows(rows, tf.zeros([5], tf.int32))),
    "lookup_sums_no_index": Case([(3, 4)], lambda rows: lookup_sums(rows, tf.zeros([0, 2], tf.int32), 0, 2)),
    "lookup_sums_no_ids": Case([(3, 4)], lambda rows: lookup_sums(rows, tf.zeros([5, 2], tf.int32), 1, 1)),
    "lookup_sums_no_rows": Case([(0, 4)], lambda rows: lookup_sums(rows, tf.zeros([5, 1], tf.int32), 0, 1)),
    "pair_products_no_rows": Case([(0, 3, 4)], lambda x: [pair_products(x)]),
    "pair_products_no_fields": Case([(3, 0, 4)], lambda x: [pair_products(x)]),
    "shared_pair_products_no_rows": Case([(0, 3, 4)], shared_pair_products),
    "shared_pair_products_no_fields": Case([(3, 0, 4)], shared_pair_products),
    "pairwise": Case([(0,)], lambda s: [pairwise(s, s, "focal", weights=s, sessions=NONE).loss], BOTH),
    "pairwise_hardest": Case([(3,)], lambda s: [pairwise(s, [1, 1, 1], "hinge", hardest=0.3).loss], BOTH),
    "pairwise_one_label": Case([(3,)], lambda s: pairwise(s, [1, 1, 1], "logistic"), BOTH),
    "listwise": Case([(0,)], lambda s: [listwise(s, s, sessions=NONE)], BOTH),
    "hybrid": Case(
        [(0, 2)], lambda x: [hybrid(x, tf.zeros([0], tf.int32), sessions=NONE, same_label=False)], BOTH
    ),
    "circle_no_rows": Case([(0, 4)], lambda e: [circle_loss(e, NONE, sessions=NONE)], BOTH),
    "circle_one_row": Case([(1, 4)], lambda e: [circle_loss(e, [7])], BOTH),
    "circle_no_anchors": Case([(3, 4)], lambda e: [circle_loss(e, [7, 7, 8], anchors=(1, 0))], BOTH),
    "multi_similarity_no_rows": Case(
        [(0, 4)], lambda e: [multi_similarity_loss(e, NONE, mining_eps=0.1)], BOTH
    ),
    "multi_similarity_no_anchors": Case(
        [(3, 4)], lambda e: [multi_similarity_loss(e, [7, 7, 8], anchors=(3, 0))], BOTH
    ),
    "softmax_nothing": Case([(0, 4), (0, 4)], lambda q, v: [in_batch_softmax(q, v)], BOTH),
    "softmax_no_queries": Case([(0, 4), (3, 4)], lambda q, v: [in_batch_softmax(q, v)], BOTH),
    "softmax_no_queries_ids": Case(
        [(0, 4), (3, 4)],
        lambda q, v: [
            in_batch_softmax(q, v, item_ids=[1, 2, 1], weights=tf.zeros([0], q.dtype), owners=NONE)
        ],
        BOTH,
    ),
    "softmax_no_weight": Case(
        [(2, 4), (3, 4)], lambda q, v: [in_batch_softmax(q, v, weights=tf.zeros([2], q.dtype))], BOTH
    ),
    "softmax_one_item": Case([(1, 4), (1, 4)], lambda q, v: [in_batch_softmax(q, v)], BOTH),
}


def _spoil() -> None:
    """Leaves NaN in the memory that the next tensors get."""
    kept = [tf.fill([size], tf.constant(np.nan, dtype)) for size in range(1, 130) for dtype in BOTH]
    del kept


@pytest.mark.parametrize(
    ("case", "dtype"), [(name, dtype) for name, case in CASES.items() for dtype in case.dtypes]
)
def test_nothing_gives_zeros(case: str, dtype: str) -> None:
    shapes, call, _ = CASES[case]
    inputs = [tf.ones(shape, dtype) for shape in shapes]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        _spoil()
        out = call(*inputs)
        loss = tf.add_n([tf.cast(tf.reduce_sum(each), dtype) for each in out])
    _spoil()
    gradients = tape.gradient(loss, inputs, unconnected_gradients="zero")
    for value in [*out, loss]:
        np.testing.assert_array_equal(value, tf.zeros_like(value))
    for given, gradient in zip(inputs, gradients, strict=True):
        np.testing.assert_array_equal(gradient, tf.zeros_like(given))


def test_bins_of_a_rank_without_rows() -> None:
    _spoil()
    for value in _bins(tf.zeros([0])):
        np.testing.assert_array_equal(value, tf.zeros_like(value))


def test_other_ops_of_empty_tensors() -> None:
    _spoil()
    assert float(sum_of_squares([tf.zeros([0]), tf.zeros([0, 3])])) == 0.0
    empty, one = add_scaled(
        [tf.zeros([0]), tf.ones([1])], [tf.zeros([0]), tf.ones([1])], tf.constant(2.0), [1, 3]
    )
    assert empty.shape == (0,)
    np.testing.assert_array_equal(one, [7.0])
