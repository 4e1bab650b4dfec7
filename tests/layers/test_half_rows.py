"""Rows in half precision, compared with float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.layers.banks.half import decode, encode

#: The smallest number that TensorFlow doesn't take for 0.
_TINY = 2.0**-126


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 17), st.floats(-125, 126))
def test_error_is_half_a_unit_of_float16(seed: int, dim: int, magnitude: float) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(-60, 0, (50, dim)) * rng.integers(0, 2, (50, 1))
    values = (rng.uniform(-1, 1, (50, dim)) * 2.0 ** (magnitude + spread)).astype(np.float32)
    values[::7] = 0
    found = decode(encode(values)).numpy().astype(np.float64)
    exact = values.astype(np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    bound = np.maximum(2.0**-11 * np.abs(exact), 2.0**-39 * largest)
    assert (np.abs(found - exact) <= np.maximum(bound, _TINY)).all()
    # So a row as a whole is changed by as little.
    errors = np.linalg.norm(found - exact, axis=1)
    assert (errors <= 2.0**-11 * np.linalg.norm(exact, axis=1) + dim * _TINY).all()
    assert (found[::7] == 0).all()


def test_numbers_beyond_float16_stay_finite() -> None:
    largest = np.finfo(np.float32).max
    values = np.array([[largest, -largest, 1.0], [65520.0, 1e-9, 0.0], [1e-30, -3e-31, 0.0]], np.float32)
    found = decode(encode(values)).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, :2], values[0, :2], rtol=2.0**-11)
    np.testing.assert_allclose(found[1], values[1], rtol=2.0**-11, atol=65520 * 2.0**-39)
    np.testing.assert_allclose(found[2], values[2], rtol=2.0**-11)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_rows_that_are_not_finite_are_still_not(bad: float) -> None:
    values = np.array([[1.0, bad, 2.0], [1.0, 2.0, 3.0]], np.float32)
    found = decode(encode(values)).numpy()
    assert not np.isfinite(found[0]).all()
    np.testing.assert_array_equal(found[1], values[1])


def test_no_rows() -> None:
    assert decode(encode(np.zeros((0, 4), np.float32))).shape == (0, 4)
