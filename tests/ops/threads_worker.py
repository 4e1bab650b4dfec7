"""What ops compute of fixed input, as JSON: ``threads_worker.py THREADS``, for the tests of their files."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.ops.attention import attend, attention_product
from hvdrec.ops.dense_layer import Norm, Repeated, dense_layer
from hvdrec.ops.lookup import lookup_rows
from hvdrec.ops.lookup_sums import lookup_sums
from hvdrec.ops.sum_of_squares import sum_of_squares


def _checksums(values: Sequence[tf.Tensor]) -> list[int]:
    return [zlib.crc32(v.numpy().tobytes()) for v in values]


def _dense_layer() -> list[int]:
    """Dense layers with their norm, and attention, which has the same products."""
    rng = np.random.default_rng(1)
    x, w = (tf.constant(rng.normal(size=s).astype(np.float32)) for s in [(1003, 70), (70, 150)])
    b, g, h = (tf.constant(rng.normal(size=150).astype(np.float32)) for _ in range(3))
    counts = tf.constant(rng.uniform(size=1003).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([x, w, b, g, h])
        outs = [dense_layer(x, w, b, Norm(g, h, 1e-3, n), True) for n in (None, counts)]
        losses = [tf.reduce_sum(tf.sin(out.y)) for out in outs]
    values = [
        v for o, loss in zip(outs, losses, strict=True) for v in (*o, *tape.gradient(loss, [x, w, b, g, h]))
    ]
    repeated = Repeated((tf.range(1003) % 9)[tf.newaxis], (30,), (40,))
    same = tf.concat([x[:, :30], tf.gather(x[:9, 30:], tf.range(1003) % 9)], axis=1)
    with tf.GradientTape() as tape:
        tape.watch([same, w])
        loss = tf.reduce_sum(tf.sin(dense_layer(same, w, b, Norm(g, h, 1e-3), True, repeated).y))
    values += tape.gradient(loss, [same, w])
    lengths = tf.constant([3] * 334 + [1])
    q, k, s = (tf.constant(rng.normal(size=n).astype(np.float32)) for n in [(335, 70), (280, 50), (1003,)])
    with tf.GradientTape() as tape:
        tape.watch([q, x, k, s])
        attended = attention_product(q, x, lengths, k, padded=True), *attend(s, x, lengths)
        loss = tf.add_n([tf.reduce_sum(tf.sin(out)) for out in attended])
    return _checksums([*values, *attended, *tape.gradient(loss, [q, x, k, s])])


def _lookup() -> list[int]:
    rng = np.random.default_rng(1)
    rows = tf.constant(rng.normal(size=(3001, 16)).astype(np.float32))
    index = tf.constant(rng.integers(0, 3002, (2003, 7)).astype(np.int32))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        found = lookup_rows(rows, index)
        loss = tf.reduce_sum(tf.sin(found.values)) + 0.3 * found.half_squares
    return _checksums([*found, tape.gradient(loss, rows)])


def _lookup_sums() -> list[int]:
    rng = np.random.default_rng(1)
    rows = tf.constant(rng.normal(size=(30_001, 16)).astype(np.float32))
    index = tf.constant(rng.integers(0, 30_002, (2003, 8)).astype(np.int32))
    with tf.GradientTape() as tape:
        tape.watch(rows)
        found = lookup_sums(rows, index, 1, 7)
        loss = tf.reduce_sum(tf.sin(found.values)) + 0.3 * found.half_squares
    return _checksums([*found, tape.gradient(loss, rows)])


def _sum_of_squares() -> list[str]:
    values = np.random.default_rng(1).normal(size=1_000_003).astype(np.float32)
    return [float(sum_of_squares([values])).hex()]


if __name__ == "__main__":
    tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
    found = {
        "dense_layer": _dense_layer(),
        "lookup": _lookup(),
        "lookup_sums": _lookup_sums(),
        "sum_of_squares": _sum_of_squares(),
    }
    print(json.dumps(found))
