"""Target attention over histories as they are, beside the same over histories padded to the longest.

    .venv/bin/python bench/target_attention.py --longest 50,200 --widths 32,64 --out target_attention.json

A batch of 1,024 rows, whose histories have a fifth of the longest in the mean; a DNN of 64, 32 and 1 units
with batch norm; forward and backward, by stock TensorFlow operations on both sides. The batch norms see the
same on both sides, the padded positions too. Every measurement is a process of its own, so that its peak of
memory, over what it held before, is its own.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import apart, describe, report
from bench.similarity import forget_peak, kilobytes

CONTENDERS = ("flat", "padded")
ROWS = 1_024
UNITS = [64, 32, 1]


def lengths(longest: int) -> np.ndarray:
    """Of each row; a fifth of `longest` in the mean, and one row has all of it."""
    found = np.random.default_rng(0).geometric(5 / longest, ROWS).clip(1, longest)
    found[0] = longest
    return found.astype(np.int32)


def _layer(width: int) -> Any:
    from hvdrec.config.protos import dnn_pb2
    from hvdrec.layers.attention.target import AttentionWidths, TargetAttention
    from hvdrec.layers.variables import VariableStore

    store = VariableStore(seed=1)
    config = dnn_pb2.DNN(hidden_units=UNITS)
    return TargetAttention(store, "dnn", config, AttentionWidths(width, width), 0.0), store


def flat(longest: int, width: int) -> Callable[[], Any]:
    """This project's layer."""
    import tensorflow as tf

    from hvdrec.layers.attention.target import AttentionInputs
    from hvdrec.layers.context import ForwardContext
    from hvdrec.layers.jagged import Jagged

    layer, store = _layer(width)
    sizes = lengths(longest)
    rows = tf.constant(np.repeat(np.arange(ROWS), sizes), tf.int32)
    query = tf.random.stateless_normal([ROWS, width], [1, 2])
    elements = tf.random.stateless_normal([int(sizes.sum()), width], [3, 4])

    @tf.function(autograph=False)
    def run(query: tf.Tensor, elements: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch([query, elements])
            inputs = AttentionInputs(query, Jagged(elements, rows, tf.constant(sizes)), ())
            loss = tf.nn.l2_loss(layer(inputs, ForwardContext(training=True)))
        return (loss, *tape.gradient(loss, [query, elements, *store.dense_trainable]))

    return lambda: float(run(query, elements)[0])


def padded(longest: int, width: int) -> Callable[[], Any]:
    """Every position to the longest row's through the same DNN, then a masked softmax, as EasyRec does."""
    import tensorflow as tf

    from hvdrec.layers.context import ForwardContext

    layer, store = _layer(width)
    sizes = lengths(longest)
    mask = np.arange(longest) < sizes[:, None]
    query = tf.random.stateless_normal([ROWS, width], [1, 2])
    elements = tf.random.stateless_normal([int(sizes.sum()), width], [3, 4])
    rectangle = np.zeros([ROWS, longest, width], np.float32)
    rectangle[mask] = elements.numpy()

    @tf.function(autograph=False)
    def run(query: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch([query, h])
            q = tf.repeat(query[:, None], longest, axis=1)
            crossed = tf.reshape(tf.concat([q, h, q - h, q * h], axis=2), [-1, 4 * width])
            scores = tf.reshape(layer._dnn(crossed, ForwardContext(training=True)), [-1, longest])
            shares = tf.nn.softmax(tf.where(mask, scores, -(2.0**32)))
            attended = tf.einsum("bt,btd->bd", shares, h)
            loss = tf.nn.l2_loss(tf.concat([attended, query], axis=1))
        return (loss, *tape.gradient(loss, [query, h, *store.dense_trainable]))

    h = tf.constant(rectangle)
    return lambda: float(run(query, h)[0])


def measure(contender: str, longest: int, width: int) -> dict[str, Any]:
    """The best time of some repetitions, the peak of memory and the loss; in this process."""
    run = globals()[contender](longest, width)
    before = forget_peak()
    best, started = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < 3.0:
        start = time.perf_counter()
        loss = run()
        best = min(best, time.perf_counter() - start)
    megabytes = (kilobytes("VmHWM") - before) / 1024
    return {"milliseconds": round(1e3 * best, 2), "megabytes": round(megabytes, 1), "loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--longest", default="50,200")
    parser.add_argument("--widths", default="32,64")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contender, *numbers = arguments.measure
        print(json.dumps(measure(contender, *map(int, numbers))))
        return
    results = []
    for longest in map(int, arguments.longest.split(",")):
        for width in map(int, arguments.widths.split(",")):
            for contender in CONTENDERS:
                found = apart(__file__, contender, longest, width)
                results.append({"contender": contender, "longest": longest, "width": width, **found})
                print(json.dumps(results[-1]), file=sys.stderr)
    report({"benchmark": "target_attention", **describe("tensorflow"), "results": results}, arguments.out)


if __name__ == "__main__":
    main()
