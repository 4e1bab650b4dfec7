"""Keras's plain layers against numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from layers.making import Made, near, numbers, softmax

X = numbers(1, 5, 3, 4)
Y = numbers(2, 5, 3, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Add", X + Y + X),
        ("Multiply", X * Y * X),
        ("Average", (X + Y + X) / 3.0),
        ("Maximum", np.maximum(X, Y)),
        ("Minimum", np.minimum(X, Y)),
    ],
)
def test_merges(name: str, expected: np.ndarray) -> None:
    near(Made(name, [(3, 4)] * 3).eval([X, Y, X]), expected)


def test_subtract() -> None:
    near(Made("Subtract", [(3, 4)] * 2).eval([X, Y]), X - Y)


@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_concatenate(axis: int) -> None:
    near(Made("Concatenate", [(3, 4), (3, 4)], axis=axis).eval([X, Y]), np.concatenate([X, Y], axis))


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("axes", [1, 2, -1])
def test_dot(axes: int, normalize: bool) -> None:
    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=axes, keepdims=True) if normalize else x

    pattern = "btd,btf->bdf" if axes == 1 else "btd,bsd->bts"
    made = Made("Dot", [(3, 4), (3, 4)], axes=axes, normalize=normalize)
    near(made.eval([X, Y]), np.einsum(pattern, unit(X), unit(Y)))


def test_dot_of_columns() -> None:
    near(Made("Dot", [4, 4], axes=1).eval([X[:, 0], Y[:, 0]]), (X[:, 0] * Y[:, 0]).sum(1, keepdims=True))


def test_dropout_is_of_training_alone() -> None:
    made = Made("Dropout", 400, rate=0.25)
    x = np.ones((50, 400))
    near(made.eval(x), x)
    found = made.train(x)[0].numpy()
    assert set(np.unique(found.round(4))) == {np.float32(0.0), np.float32(1.3333)}
    assert abs(found.mean() - 1.0) < 0.02


def test_layer_normalization() -> None:
    made = Made("LayerNormalization", (3, 4), epsilon=0.1)
    made.shake()
    near(made.eval(X), made.layer_norm("backbone/block", X, 0.1))
    assert Made("LayerNormalization", 4, scale=False).names == ["beta"]


def test_batch_normalization_counts_every_position() -> None:
    made = Made("BatchNormalization", (3, 4))
    made.shake()
    flat = made.batch_norm("backbone/block", X.reshape(15, 4), training=True)
    near(made.train(X)[0], flat.reshape(5, 3, 4), rtol=1e-3, atol=1e-4)


def test_dense_over_the_last_axis_and_keras_gelu() -> None:
    made = Made("Dense", (3, 4), units=2, activation="gelu")
    made.shake()
    linear = made.dense("backbone/block", X)
    near(made.eval(X), 0.5 * linear * (1.0 + np.vectorize(math.erf)(linear / np.sqrt(2.0))))


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Activation", {"activation": "tanh"}, np.tanh(X)),
        ("ReLU", {}, np.maximum(X, 0.0)),
        (
            "ReLU",
            {"max_value": 0.8, "negative_slope": 0.1, "threshold": 0.5},
            np.where(X >= 0.5, np.minimum(X, 0.8), 0.1 * (X - 0.5)),
        ),
        ("LeakyReLU", {}, np.where(X > 0, X, 0.3 * X)),
        ("ELU", {"alpha": 0.5}, np.where(X > 0, X, 0.5 * np.expm1(X))),
        ("Softmax", {}, softmax(X)),
        ("Softmax", {"axis": 1}, softmax(X.transpose(0, 2, 1)).transpose(0, 2, 1)),
        ("UnitNormalization", {}, X / np.linalg.norm(X, axis=2, keepdims=True)),
        ("Flatten", {}, X.reshape(5, 12)),
        ("Reshape", {"target_shape": [2, -1]}, X.reshape(5, 2, 6)),
        ("Permute", {"dims": [2, 1]}, X.transpose(0, 2, 1)),
        ("GlobalAveragePooling1D", {}, X.mean(1)),
        ("GlobalMaxPooling1D", {}, X.max(1)),
    ],
)
def test_functions(name: str, values: dict[str, Any], expected: np.ndarray) -> None:
    near(Made(name, (3, 4), **values).eval(X), expected)


def test_repeat_vector() -> None:
    near(Made("RepeatVector", 4, n=2).eval(X[:, 0]), np.repeat(X[:, :1], 2, 1))
