"""A backbone that says what a model class says computes the same."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from bench.backbone import PAIRS, batches_of, build
from hvdrec.layers.context import ForwardContext


def _kind(name: str, shape: tuple[int, ...]) -> tuple[object, ...]:
    table = re.search(r"/(\w+?)(_bucketized)?(_\d+)?_embedding/", name)
    return (table[1], shape) if table else (name.rsplit("/", 1)[-1], shape)


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_losses_and_gradients_are_the_same(name: str, tmp_path: pathlib.Path) -> None:
    jobs = [build(name, backbone, tmp_path) for backbone in (False, True)]
    entries = [[e for e in job.entries() if "Adam" not in e.name and "step" not in e.name] for job in jobs]

    def values(entry) -> np.ndarray:
        return entry.variable.numpy()[slice(*entry.rows) if entry.rows else slice(None)]

    # The same kinds and shapes in the same order, whatever their names.
    waiting: dict[tuple[object, ...], list] = {}
    for entry in entries[0]:
        if "power" not in entry.name:
            waiting.setdefault(_kind(entry.name, values(entry).shape), []).append(entry)
    for entry in entries[1]:
        if "power" in entry.name:
            continue
        source = waiting[_kind(entry.name, values(entry).shape)].pop(0)
        whole = entry.variable.numpy()
        whole[slice(*entry.rows) if entry.rows else slice(None)] = values(source)
        entry.variable.assign(whole)
    assert not any(waiting.values())

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
        found.append((float(total), output.outputs["logits"].numpy(), squares))
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5, atol=1e-6)
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert found[1][2] == pytest.approx(found[0][2], rel=1e-5)
