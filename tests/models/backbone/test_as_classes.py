"""A backbone that is equivalent to a model class computes the same."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bench.backbone import PAIRS, batches_of, build
from hvdrec.layers.context import ForwardContext

#: The class's variable for a backbone's, where kind, shape and order don't tell; None for one without effect.
TWINS: dict[str, str | None] = {
    **{f"backbone/w{i + 1}/kernel": f"cross_layer_{i}_w" for i in range(2)},
    **{f"backbone/b{i + 1}/bias": f"cross_layer_{i}_b" for i in range(2)},
    **{f"backbone/b{i + 1}/kernel": None for i in range(2)},
    **{f"backbone/{side[0]}/layer_1/dense/bias": f"{side}_dnn/dnn_1/bias" for side in ("user", "item")},
}


def _kind(name: str, shape: tuple[int, ...]) -> tuple[object, ...]:
    table = re.search(r"/(\w+?)(_bucketized)?(_\d+)?_embedding/", name)
    return (table[1], shape) if table else (name.rsplit("/", 1)[-1], shape)


def _values(entry: Any) -> np.ndarray:
    return entry.variable.numpy()[slice(*entry.rows) if entry.rows else slice(None)]


def _reordered(kernel: np.ndarray, vectors: int = 16) -> np.ndarray:
    """The kernel over DLRM's dot products, from the class's order of pairs to DotInteraction's."""
    places = {pair: k for k, pair in enumerate(zip(*np.triu_indices(vectors, 1), strict=True))}
    pairs = [places[j, i] for i, j in zip(*np.tril_indices(vectors, -1), strict=True)]
    return kernel[[*pairs, *range(len(pairs), len(kernel))]]


def _copy(jobs: list[Any]) -> None:
    """Gives the backbone the class's weights: the same kinds and shapes in the same order, whatever the names."""
    entries = [[e for e in job.entries() if not re.search("Adam|step|power", e.name)] for job in jobs]
    twins = {TWINS[e.name] for e in entries[1] if e.name in TWINS}
    waiting: dict[tuple[object, ...], list[Any]] = {}
    for entry in entries[0]:
        if entry.name not in twins:
            waiting.setdefault(_kind(entry.name, _values(entry).shape), []).append(entry)
    named = {entry.name: entry for entry in entries[0]}
    for entry in entries[1]:
        own = _values(entry)
        if entry.name in TWINS:
            twin = TWINS[entry.name]
            if twin is None:
                continue
            values = _values(named[twin]).reshape(own.shape)
        else:
            values = _values(waiting[_kind(entry.name, own.shape)].pop(0))
        if entry.name == "backbone/top/layer_0/dense/kernel":
            values = _reordered(values)
        whole = entry.variable.numpy()
        whole[slice(*entry.rows) if entry.rows else slice(None)] = values
        entry.variable.assign(whole)
    assert not any(waiting.values())


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_losses_and_gradients_are_the_same(name: str, tmp_path: pathlib.Path) -> None:
    jobs = [build(name, backbone, tmp_path) for backbone in (False, True)]
    _copy(jobs)
    found = []
    for job in jobs:
        arrays = job.feed.unpack(job.feed.stack(batches_of(job, 1)), tf.constant(0))
        model = job.recommender
        with tf.GradientTape() as tape:
            touched = model.touch(arrays)
            tape.watch(touched)
            run = ForwardContext(training=True, seed=tf.constant([1, 2]))
            output = model.forward(arrays, touched, run)
            losses = model.losses(arrays, output, True, tf.constant(0, tf.int64))
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, touched)
        squares = sum(float(tf.reduce_sum(tf.square(tf.convert_to_tensor(g)))) for g in gradients)
        logits = {k: v.numpy() for k, v in output.outputs.items() if k.startswith("logits")}
        found.append((float(total), logits, squares))
    assert found[1][1].keys() == found[0][1].keys() != set()
    for key, logits in found[0][1].items():
        np.testing.assert_allclose(found[1][1][key], logits, rtol=1e-5, atol=1e-6, err_msg=key)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert found[1][2] == pytest.approx(found[0][2], rel=1e-5)
