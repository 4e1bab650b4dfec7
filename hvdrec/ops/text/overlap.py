"""What two texts have in common, term by term."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.text.terms import Terms, numbered, split_terms


def overlap(
    query: tf.Tensor,
    title: tf.Tensor,
    separator: str,
    default_value: float,
    methods: Sequence[str],
    *,
    impl: str = "native",
) -> tf.Tensor:
    """Compares the terms of a query and a title; csrc/kernels/text/overlap.h has the formulas.

    Args:
        query: string [B].
        title: string [B].
        separator: Between terms; empty terms are left out.
        default_value: The result where a text has no term.
        methods: The names of the comparisons.
        impl: ``native`` or ``tensorflow``, whose proximities need memory for B x Q x T^2 numbers.

    Returns:
        float32 [B, methods].
    """
    return implementation(_IMPLEMENTATIONS, impl)(query, title, separator, default_value, list(methods))


def _native(
    query: tf.Tensor, title: tf.Tensor, separator: str, default_value: float, methods: list[str]
) -> tf.Tensor:
    return load_ops().hvdrec_overlap(
        query, title, separator=separator, default_value=default_value, methods=methods
    )


def _tensorflow(
    query: tf.Tensor, title: tf.Tensor, separator: str, default_value: float, methods: list[str]
) -> tf.Tensor:
    parts = [split_terms(texts, separator) for texts in (query, title)]
    rows = _Rows(numbered(*parts))
    found = tf.stack([tf.cast(_METHODS[name](rows), tf.float32) for name in methods], axis=1)
    empty = tf.logical_or(*(each.row_lengths() == 0 for each in parts))
    return tf.where(empty[:, None], default_value, found)


class _Rows:
    """The terms of all rows, padded.

    Attributes:
        query: int32 [B, Q], -1 after the last term.
        title: int32 [B, T], -2 after the last term.
        queries: int32 [B], the query's terms.
        titles: int32 [B], the title's terms.
    """

    def __init__(self, terms: Terms) -> None:
        self.query = terms.query.to_tensor(-1)
        self.title = terms.title.to_tensor(-2)
        self.queries = tf.cast(terms.query.row_lengths(), tf.int32)
        self.titles = tf.cast(terms.title.row_lengths(), tf.int32)

    def common(self) -> tf.Tensor:
        """The number of the query's terms that are in the title: int32 [B]."""
        return tf.reduce_sum(tf.cast(tf.reduce_any(self.equal(), axis=2), tf.int32), axis=1)

    def equal(self) -> tf.Tensor:
        """Whether each term of the query is each term of the title: bool [B, Q, T]."""
        return tf.equal(self.query[:, :, None], self.title[:, None, :])

    def first(self) -> tf.Tensor:
        """Whether each term of the query isn't also earlier in it: bool [B, Q]."""
        same = tf.equal(self.query[:, :, None], self.query[:, None, :])
        earlier = tf.linalg.band_part(tf.ones_like(same[0], tf.int32), -1, 0) - tf.eye(
            tf.shape(self.query)[1], dtype=tf.int32
        )
        repeated = tf.reduce_any(tf.logical_and(same, earlier > 0), axis=2)
        return tf.logical_and(self.query >= 0, tf.logical_not(repeated))

    def places(self) -> tf.Tensor:
        """`equal` without the terms that are also earlier in the query: bool [B, Q, T]."""
        return tf.logical_and(self.equal(), self.first()[:, :, None])


def _index_of(rows: _Rows) -> tf.Tensor:
    length, width = tf.shape(rows.title)[1], tf.shape(rows.query)[1]
    padded = tf.pad(rows.title, [[0, 0], [0, width]], constant_values=-2)
    at = tf.range(length)[:, None] + tf.range(width)[None, :]
    windows = tf.gather(padded, at, axis=1)
    query = rows.query[:, None, :]
    found = tf.reduce_all(tf.logical_or(query < 0, tf.equal(windows, query)), axis=2)
    place = tf.reduce_min(tf.where(found, tf.range(length), length), axis=1)
    return tf.where(place < rows.titles, place, -1)


def _is_equal(rows: _Rows) -> tf.Tensor:
    return tf.logical_and(tf.equal(rows.queries, rows.titles), tf.equal(_index_of(rows), 0))


def _min_cover(rows: _Rows) -> tf.Tensor:
    places, length = rows.places(), tf.shape(rows.title)[1]
    at = tf.range(length)
    # The next place of each term from each start on.
    later = tf.where(at[None, :] >= at[:, None], at[None, :], 2 * length + 1)
    following = tf.where(places[:, :, None, :], later, 2 * length + 1)
    ends = tf.where(rows.first()[:, :, None], tf.reduce_min(following, axis=3), -1)
    covers = tf.reduce_min(tf.reduce_max(ends, axis=1) - at + 1, axis=1)
    return tf.where(covers <= rows.titles, covers, 0)


def _distance(pool: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Callable[[_Rows], tf.Tensor]:
    def compute(rows: _Rows) -> tf.Tensor:
        places, length = rows.places(), tf.shape(rows.title)[1]
        at = tf.range(length)
        apart = tf.abs(at[:, None] - at[None, :])
        nearest = tf.reduce_min(tf.where(places[:, :, None, :], apart, length), axis=3)
        between = tf.where(places[:, None, :, :], nearest[:, :, None, :], length)
        distances = tf.reduce_min(between, axis=3)
        present = tf.reduce_any(places, axis=2)
        pairs = tf.logical_and(present[:, :, None], present[:, None, :])
        pairs = tf.linalg.set_diag(pairs, tf.zeros_like(present))
        matched = tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
        pooled = pool(tf.cast(distances, tf.float64), pairs)
        otherwise = tf.where(tf.equal(matched, 1), 0, rows.titles + 1)
        return tf.where(matched < 2, tf.cast(otherwise, tf.float64), pooled)

    return compute


def _mean(distances: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
    total = tf.reduce_sum(tf.where(pairs, distances, 0.0), axis=[1, 2])
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(pairs, tf.float64), axis=[1, 2]))


_METHODS: dict[str, Callable[[_Rows], tf.Tensor]] = {
    "query_common_ratio": lambda rows: rows.common() / rows.queries,
    "title_common_ratio": lambda rows: tf.minimum(1.0, tf.cast(rows.common() / rows.titles, tf.float32)),
    "is_contain": lambda rows: _index_of(rows) >= 0,
    "is_equal": _is_equal,
    "index_of": _index_of,
    "proximity_min_cover": _min_cover,
    "proximity_min_dist": _distance(
        lambda d, pairs: tf.reduce_min(tf.where(pairs, d, d.dtype.max), axis=[1, 2])
    ),
    "proximity_max_dist": _distance(lambda d, pairs: tf.reduce_max(tf.where(pairs, d, 0.0), axis=[1, 2])),
    "proximity_avg_dist": _distance(_mean),
}

_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecOverlap")
