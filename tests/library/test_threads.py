"""Losses computed by several Python threads at once."""

from __future__ import annotations

import threading

import numpy as np
import tensorflow as tf
from library.cases import embedding_rows, pair_rows

import hvdrec


def test_four_threads_at_once() -> None:
    rows = [pair_rows(3_000, seed) for seed in range(4)]
    batches = [embedding_rows(300, 16, seed) for seed in range(4)]

    def compute(i: int) -> list[np.ndarray]:
        with tf.GradientTape() as tape:
            scores = tf.constant(rows[i]["scores"])
            tape.watch(scores)
            value = hvdrec.losses.pairwise_logistic(rows[i]["labels"], scores, sessions=rows[i]["sessions"])
        found = [value, tape.gradient(value, scores)]
        found += hvdrec.numpy.pairwise_hinge(rows[i]["labels"], rows[i]["scores"], ohem_ratio=0.1)
        found += hvdrec.numpy.circle(batches[i]["labels"], batches[i]["embeddings"])
        found.append(hvdrec.losses.multi_similarity(batches[i]["labels"], batches[i]["embeddings"]))
        return [np.asarray(f) for f in found]

    expected = [compute(i) for i in range(4)]
    wrong: list[str] = []
    together = threading.Barrier(4)

    def repeat(i: int) -> None:
        try:
            together.wait(30)
            for _ in range(15):
                for ours, theirs in zip(compute(i), expected[i], strict=True):
                    np.testing.assert_array_equal(ours, theirs)
        except Exception as error:
            wrong.append(f"thread {i}: {error}")

    threads = [threading.Thread(target=repeat, args=[i], daemon=True) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    assert wrong == []
