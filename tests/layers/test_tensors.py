"""Features as one tensor and as a list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.layers.expressions import TensorOperations
from hvdrec.layers.tensors import joined, rejoined, stacked

X = np.arange(24, dtype=np.float32).reshape(2, 12)


@pytest.mark.parametrize("graph", [False, True])
def test_columns_of_a_split_are_joined_to_the_same_numbers(graph: bool) -> None:
    def compute(x: tf.Tensor) -> list[Any]:
        parts = tf.split(x, [3, 3, 6], axis=1)
        even = tf.split(x, [3] * 4, axis=1)
        call = TensorOperations().call
        return [
            joined(parts),
            joined([parts[2], *even]),
            joined(parts[:2]),
            joined([parts[1], parts[0], parts[2]]),
            stacked(even),
            stacked(even[:2]),
            stacked([parts[1], *even]),
            call("tf.add_n", {"inputs": even}),
            call("tf.add_n", {"inputs": even[1:]}),
            call("tf.concat", {"values": even, "axis": -1}),
            call("tf.concat", {"values": even, "axis": 0}),
        ]

    a, b, c = X[:, :3], X[:, 3:6], X[:, 6:]
    by_feature = X.reshape(2, 4, 3)
    expected = [
        X,
        np.hstack([c, X]),
        X[:, :6],
        np.hstack([b, a, c]),
        by_feature,
        by_feature[:, :2],
        np.concatenate([b[:, np.newaxis], by_feature], axis=1),
        by_feature.sum(1),
        by_feature[:, 1:].sum(1),
        X,
        X.reshape(2, 4, 3).transpose(1, 0, 2).reshape(8, 3),
    ]
    found = (tf.function(compute) if graph else compute)(tf.constant(X))
    for own, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, right)


def test_a_graph_does_not_copy_what_was_split() -> None:
    with tf.Graph().as_default():
        x, other = tf.constant(X), tf.zeros([2, 1])
        parts = tf.split(x, [3, 3, 6], axis=1)
        assert joined(parts) is x
        assert [each is x for each in rejoined([other, *parts, *parts])] == [False, True, True]
        assert len(rejoined([*parts[:2], other])) == 3
        rows = tf.split(x, [1, 1], axis=0)
        assert len(rejoined(rows)) == 2
        with pytest.raises(ValueError, match="must be equal"):
            stacked(parts)
