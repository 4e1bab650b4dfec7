"""Keras `fit` with the pairwise logistic loss: hvdrec's, the same in Keras operations, and cross entropy.

    .venv/bin/python bench/keras_fit.py [--rows 16384] [--steps 10] [--out FILE]

A model with two layers of 64 units on 100 features, one batch of `--rows` rows per step. Every loss is trained in its own process;
the first step, which traces, isn't counted. Peak memory is above what was allocated before `fit`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import apart, describe, report
from bench.similarity import forget_peak, kilobytes

LOSSES = ("cross_entropy", "hvdrec", "keras_operations")


def pairs_in_keras(labels: Any, scores: Any) -> Any:
    """The loss of all pairs, written with matrices."""
    import keras

    labels, scores = keras.ops.reshape(labels, [-1]), keras.ops.reshape(scores, [-1])
    pairs = keras.ops.cast(labels[:, None] > labels[None, :], "float32")
    losses = pairs * keras.ops.softplus(scores[None, :] - scores[:, None])
    return keras.ops.sum(losses) / keras.ops.sum(pairs)


def measure(name: str, rows: int, steps: int) -> dict[str, Any]:
    """Measures milliseconds per step and peak megabytes in this process."""
    import keras

    import hvdrec

    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 100)).astype(np.float32)
    y = (x[:, 0] + generator.normal(size=rows) > 0).astype(np.float32)[:, None]
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(64, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.layers.Input((100,)), *layers])
    loss = {
        "cross_entropy": keras.losses.BinaryCrossentropy(from_logits=True),
        "hvdrec": hvdrec.keras.PairwiseLogisticLoss(),
        "keras_operations": pairs_in_keras,
    }[name]
    model.compile("adam", loss=loss)
    times: list[float] = []
    cpu_times: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.began, self.cpu_began = time.perf_counter(), time.process_time()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            times.append(time.perf_counter() - self.began)
            cpu_times.append(time.process_time() - self.cpu_began)

    before = forget_peak()
    history = model.fit(x, y, batch_size=rows, epochs=steps + 1, verbose=0, callbacks=[Clock()])
    return {
        "milliseconds": round(1e3 * min(times[1:]), 2),
        "median_milliseconds": round(1e3 * float(np.median(times[1:])), 2),
        "cpu_milliseconds": round(1e3 * min(cpu_times[1:]), 2),
        "peak_megabytes": round((kilobytes("VmHWM") - before) / 1024, 1),
        "last_loss": history.history["loss"][-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_384)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, *numbers = arguments.measure
        print(json.dumps(measure(name, *map(int, numbers))))
        return
    results = {name: apart(__file__, name, arguments.rows, arguments.steps) for name in LOSSES}
    report(
        {
            "benchmark": "keras_fit",
            **describe("keras", "tensorflow-cpu"),
            "rows": arguments.rows,
            "results": results,
        },
        arguments.out,
    )


if __name__ == "__main__":
    main()
