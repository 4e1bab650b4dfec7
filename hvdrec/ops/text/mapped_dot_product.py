"""The dot product of two sparse vectors that are written as texts."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import implementation, load_ops
from hvdrec.ops.text.terms import numbered, split_terms


def mapped_dot_product(
    query: tf.Tensor, document: tf.Tensor, separator: str, default_value: float, *, impl: str = "native"
) -> tf.Tensor:
    """The dot product of vectors such as ``a:0.5|b:2``.

    An entry has a key and, after its last colon, a value; without a colon the value is 1. The last entry of a
    key counts. A value that isn't a number is an error.

    Args:
        query: string [B].
        document: string [B].
        separator: Between entries.
        default_value: The product where a text has no entry.
        impl: ``native`` or ``tensorflow``; the last bits can differ.

    Returns:
        float32 [B].
    """
    return implementation(_IMPLEMENTATIONS, impl)(query, document, separator, default_value)


def _native(query: tf.Tensor, document: tf.Tensor, separator: str, default_value: float) -> tf.Tensor:
    return load_ops().hvdrec_mapped_dot_product(
        query, document, separator=separator, default_value=default_value
    )


def _tensorflow(query: tf.Tensor, document: tf.Tensor, separator: str, default_value: float) -> tf.Tensor:
    entries = [split_terms(texts, separator) for texts in (query, document)]
    parts = [_keys_and_values(each.flat_values) for each in entries]
    ragged = [each.with_flat_values(keys) for each, (keys, _) in zip(entries, parts, strict=True)]
    terms = numbered(*ragged)
    count = tf.size(terms.owner)
    product = tf.ones([count], tf.float64)
    for numbers, (_, values) in zip((terms.query, terms.title), parts, strict=True):
        last = tf.math.unsorted_segment_max(tf.range(tf.size(values)), numbers.flat_values, count)
        padded = tf.pad(values, [[1, 0]])
        product *= tf.gather(padded, tf.maximum(last, -1) + 1)
    rows = tf.shape(query)[0]
    sums = tf.cast(tf.math.unsorted_segment_sum(product, terms.owner, rows), tf.float32)
    empty = tf.logical_or(*(each.row_lengths() == 0 for each in entries))
    return tf.where(empty, default_value, sums)


def _keys_and_values(entries: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The keys and values of entries [N]: string and float64 [N]."""
    pattern = r"(?s)^(.*):([^:]*)$"
    plain = tf.logical_not(tf.strings.regex_full_match(entries, r"(?s).*:.*"))
    keys = tf.where(plain, entries, tf.strings.regex_replace(entries, pattern, r"\1"))
    written = tf.strings.strip(tf.strings.regex_replace(entries, pattern, r"\2"))
    values = tf.strings.to_number(tf.where(plain, "1", written), tf.float64)
    return keys, tf.debugging.check_numerics(values, "the value of an entry is not a finite number")


_IMPLEMENTATIONS = {"native": _native, "tensorflow": _tensorflow}

tf.no_gradient("HvdrecMappedDotProduct")
