"""Embeddings of numbers against float64 references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layers.making import Made, near, numbers, relu, softmax

FORMS = [{}, {"output_3d_tensor": True}, {"output_tensor_list": True}]


def _formed(embeddings: np.ndarray, form: dict[str, bool]) -> Any:
    flat = embeddings.reshape(len(embeddings), -1)
    if "output_tensor_list" in form:
        return [flat, [embeddings[:, i] for i in range(embeddings.shape[1])]]
    return [flat, embeddings] if form else flat


@pytest.mark.parametrize("form", FORMS)
def test_auto_dis(form: dict[str, bool]) -> None:
    made = Made("AutoDisEmbedding", 3, embedding_dim=4, num_bins=5, temperature=0.7, keep_prob=0.6, **form)
    made.shake()
    x = numbers(1, 6, 3)
    h = made.value("project_w") * x[:, :, None]
    h = np.where(h > 0, h, 0.2 * h)
    y = np.einsum("nik,bnk->bni", made.value("project_mat"), h)
    shares = softmax((y + 0.6 * h) / 0.7)
    expected = np.einsum("bnk,nkd->bnd", shares, made.value("meta_embedding"))
    near(made.eval(x), _formed(expected, form))


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_periodic(form: dict[str, bool], linear: bool) -> None:
    made = Made("PeriodicEmbedding", 3, embedding_dim=4, sigma=0.5, add_linear_layer=linear, **form)
    made.shake()
    x = numbers(1, 6, 3)
    angles = 2.0 * np.pi * made.value("coefficients") * x[:, :, None]
    expected = np.concatenate([np.sin(angles), np.cos(angles)], 2)
    if linear:
        weights = made.value("nd_linear/weights")[0]
        expected = relu(np.einsum("bni,nio->bno", expected, weights) + made.value("nd_linear/bias"))
    near(made.eval(x), _formed(expected, form), rtol=1e-3, atol=1e-4)


def test_sigma_is_the_spread_of_the_frequencies() -> None:
    made = Made("PeriodicEmbedding", 200, embedding_dim=40, sigma=3.0)
    assert abs(made.value("coefficients").std() - 3.0) < 0.1


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("pooling", ["sum", "mean"])
@pytest.mark.parametrize("form", FORMS)
def test_nary_dis(form: dict[str, bool], pooling: str, copies: int) -> None:
    made = Made(
        "NaryDisEmbedding",
        2,
        embedding_dim=3,
        carries=[2, 10],
        multiplier=10.0,
        intra_ary_pooling=pooling,
        num_replicas=copies,
        **form,
    )
    table = made.value("embed_table")
    places = 2 * 32 + 10 * 10
    assert table.shape == (2 * places, 3 * copies)
    x = np.array([[0.0, 1.29], [3.7, -0.1], [123.4, 9.9]])
    expected = np.zeros((3, 2, 2, 3 * copies))
    for row, number in np.ndindex(3, 2):
        value = int(np.float32(x[row, number]) * np.float32(10.0)) % 2**32
        for b, (base, first) in enumerate(((2, 0), (10, 64))):
            written = np.base_repr(value, base)[::-1]
            ids = [number * places + first + i * base + int(digit) for i, digit in enumerate(written)]
            pooled = table[ids].sum(0)
            expected[row, number, b] = pooled / len(ids) if pooling == "mean" else pooled
    sets = [_formed(part.reshape(3, 2, 6), form) for part in np.split(expected, copies, axis=3)]
    if form:
        near(made.eval(x), [*(flat for flat, _ in sets), *(apart for _, apart in sets)])
    else:
        near(made.eval(x), sets[0] if copies == 1 else sets)
