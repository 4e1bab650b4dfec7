"""Lookups and their gradients against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.layers.lookup import lookup, lookup_combined
from hvdrec.layers.variables import VariableStore


@given(
    rows=st.integers(0, 6),
    shape=st.tuples(st.integers(0, 5), st.integers(1, 4)),
    dim=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_lookup_and_gradient(rows: int, shape: tuple[int, int], dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    touched = rng.normal(size=(rows, dim)).astype(np.float32)
    index = rng.integers(0, rows + 1, shape).astype(np.int32)
    upstream = rng.normal(size=(*shape, dim)).astype(np.float32)
    expected = np.concatenate([np.zeros((1, dim), np.float32), touched])[index]
    gradient = np.zeros((rows + 1, dim))
    np.add.at(gradient, index.reshape(-1), upstream.reshape(-1, dim))

    variable = tf.constant(touched)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        found = lookup(variable, tf.constant(index))
    np.testing.assert_array_equal(found, expected)
    got = tape.gradient(found, variable, output_gradients=tf.constant(upstream))
    np.testing.assert_allclose(got, gradient[1:], rtol=1e-5, atol=1e-6)


def test_lookup_combined() -> None:
    touched = tf.constant([[1.0, 2.0], [10.0, 20.0]])
    found = lookup_combined(
        touched,
        index=tf.constant([1, 2, 0, 2]),
        weight=tf.constant([1.0, 0.5, 7.0, 2.0]),
        segment=tf.constant([0, 0, 1, 3]),
        segments=tf.constant(5),
    )
    np.testing.assert_allclose(found, [[6, 12], [0, 0], [0, 0], [20, 40], [0, 0]])


def test_a_name_is_made_once() -> None:
    store = VariableStore(seed=1)
    store.create("x/kernel", (2, 2))
    with pytest.raises(ValueError, match="created twice"):
        store.create("x/kernel", (2, 2))
