from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.clip import clip_by_global_norm


def gradients() -> list:
    random = np.random.default_rng(3)
    dense = tf.constant(random.normal(size=(3, 2)), tf.float32)
    rows = RowGradient(tf.constant([4, 1]), tf.constant(random.normal(size=(2, 5)), tf.float32))
    return [dense, rows]


@pytest.mark.parametrize("clip_norm", [0.1, 1.0, 100.0])
def test_equals_tensorflow(clip_norm):
    dense, rows = gradients()
    (clipped, clipped_rows), norm = clip_by_global_norm([dense, rows], [dense, rows.values], clip_norm)
    slices = tf.IndexedSlices(rows.values, rows.rows)
    (wanted, wanted_rows), wanted_norm = tf.clip_by_global_norm([dense, slices], clip_norm)
    np.testing.assert_allclose(norm, wanted_norm, rtol=1e-6)
    np.testing.assert_allclose(clipped, wanted, rtol=1e-6)
    np.testing.assert_allclose(clipped_rows.values, wanted_rows.values, rtol=1e-6)
    np.testing.assert_array_equal(clipped_rows.rows, rows.rows)


def test_zero_gradients_stay_zero():
    (clipped,), norm = clip_by_global_norm([tf.zeros([3])], [tf.zeros([3])], 1.0)
    assert float(norm) == 0.0
    np.testing.assert_array_equal(clipped, np.zeros(3))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_norm_that_is_not_finite_shows(bad):
    values = [tf.constant([1.0, bad]), tf.ones([2])]
    (clipped, _), norm = clip_by_global_norm(values, values, 1.0)
    assert not np.isfinite(norm)
    assert np.isnan(clipped).all()
