"""Target attention, forward and backward passes: time and memory on flat rows, compared with the padded form.

    .venv/bin/python bench/attention.py [--longest 50,200] [--widths 32,64] [--threads 2] [--out FILE.json]

1,024 rows have histories whose lengths follow an exponential distribution with a mean of a fifth of the longest;
one row has the longest history, one has none. `flat` is the `TargetAttention` of MultiTowerDIN with native operations, as
in models with 32,768 or more dense weights; `padded` the usual form in TensorFlow: a mask, and the DNN over every
position of [batch, longest]. Its histories are already padded, which isn't timed. `milliseconds` is the best time of some
calls, `cpu_milliseconds` the least processor time of one, which other programs disturb less. The DNN is 64, 32, 1 with batch norm, which includes the padding: both give the same numbers.
`error` is the norm of the difference of the outputs divided by their norm, `gradient_error` the difference of the
gradients of 99 of 100 elements divided by the largest one. Every measurement runs in its own process, so that the
peak of its memory, above what was allocated before, is its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import apart, describe
from bench.similarity import forget_peak, kilobytes

CONTENDERS = ("flat", "padded")
BATCH = 1024
DNN = "hidden_units: [64, 32, 1] use_bn: true"
EPSILON = 1e-3

#: Returns the attended histories [B, D], and the gradients by query [B, D], by history [E, D] and by variables.
Run = Callable[[], list[np.ndarray]]


def lengths(longest: int) -> np.ndarray:
    """The number of elements of each row."""
    drawn = np.random.default_rng(0).exponential(longest / 5, BATCH).astype(np.int32)
    drawn[:2] = longest, 0
    return np.minimum(drawn, longest)


@functools.cache
def data(longest: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries [B, D], the elements of all rows [E, D], and the factors of the output [B, D]."""
    rng = np.random.default_rng(1)
    sizes = BATCH, int(lengths(longest).sum()), BATCH
    query, elements, upstream = (rng.normal(size=(n, width)).astype(np.float32) for n in sizes)
    return query, elements, upstream


def layer(width: int) -> Any:
    """The layer, and its variables by name."""
    from google.protobuf import text_format

    from hvdrec.config.protos import dnn_pb2
    from hvdrec.layers.attention.target import AttentionWidths, TargetAttention
    from hvdrec.layers.variables import VariableStore

    store = VariableStore(seed=1)
    config = text_format.Parse(DNN, dnn_pb2.DNN())
    return TargetAttention(store, "din_dnn", config, AttentionWidths(width, width), 0.0), store


def flat(longest: int, width: int) -> Run:
    import tensorflow as tf

    from hvdrec.layers.attention.target import AttentionInputs
    from hvdrec.layers.context import ForwardContext
    from hvdrec.layers.jagged import Jagged

    attention, store = layer(width)
    rows = np.repeat(np.arange(BATCH, dtype=np.int32), lengths(longest))

    def attend(query: tf.Tensor, elements: tf.Tensor) -> tf.Tensor:
        jagged = Jagged(elements, tf.constant(rows), tf.constant(lengths(longest)))
        found = attention(AttentionInputs(query, jagged, ()), ForwardContext(training=True, impl="native"))
        return found[:, :width]

    return _both_ways(attend, *data(longest, width), store.dense_trainable)


def padded(longest: int, width: int) -> Run:
    import tensorflow as tf

    _, store = layer(width)
    query, elements, upstream = data(longest, width)
    there = np.arange(longest) < lengths(longest)[:, np.newaxis]
    histories = np.zeros((BATCH, longest, width), np.float32)
    histories[there] = elements
    get = store.variables_by_name.get

    def attend(query: tf.Tensor, histories: tf.Tensor) -> tf.Tensor:
        q = tf.broadcast_to(query[:, tf.newaxis], histories.shape)
        x = tf.reshape(tf.concat([q, histories, q - histories, q * histories], axis=2), [-1, 4 * width])
        for scope in ("din_dnn/dnn_0", "din_dnn/dnn_1"):
            x = x @ get(f"{scope}/kernel") + get(f"{scope}/bias")
            mean, variance = tf.nn.moments(x, axes=[0])
            norm = tf.nn.batch_normalization
            x = tf.nn.relu(
                norm(x, mean, variance, get(f"{scope}/bn/beta"), get(f"{scope}/bn/gamma"), EPSILON)
            )
        scores = tf.reshape(x @ get("din_dnn/dnn_2/kernel") + get("din_dnn/dnn_2/bias"), [BATCH, longest])
        shares = tf.nn.softmax(tf.where(there, scores, tf.fill(scores.shape, -(2.0**32))))
        # In EasyRec's softmax, a row without elements has equal weights for zeros.
        return tf.einsum("bt,btd->bd", shares, histories)

    run = _both_ways(attend, query, histories, upstream, store.dense_trainable)

    def flattened() -> list[np.ndarray]:
        out, by_query, by_history, *by_variables = run()
        return [out, by_query, by_history[there], *by_variables]

    return flattened


def _both_ways(
    attend: Any, query: np.ndarray, history: np.ndarray, upstream: np.ndarray, variables: Any
) -> Run:
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(query: tf.Tensor, history: tf.Tensor, upstream: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([query, history])
            out = attend(query, history)
            total = tf.reduce_sum(out * upstream)
        return [out, *tape.gradient(total, [query, history, *variables])]

    arguments = [tf.constant(a) for a in (query, history, upstream)]
    return lambda: [tensor.numpy() for tensor in step(*arguments)]


def measure(contender: str, longest: int, width: int, threads: int) -> dict[str, Any]:
    """The best time of some repetitions, the peak of memory, and the difference from `padded`."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    run = globals()[contender](longest, width)
    before = forget_peak()
    values = run()
    memory = (kilobytes("VmHWM") - before) / 1024
    best, cpu, count, started = float("inf"), float("inf"), 0, time.perf_counter()
    while count < 3 or time.perf_counter() - started < 2.0:
        start, used = time.perf_counter(), time.process_time()
        run()
        best, cpu = min(best, time.perf_counter() - start), min(cpu, time.process_time() - used)
        count += 1
    found = {
        "milliseconds": round(1e3 * best, 2),
        "cpu_milliseconds": round(1e3 * cpu, 2),
        "megabytes": round(memory, 1),
    }
    if contender != "padded":
        expected = padded(longest, width)()
        found["error"] = float(np.linalg.norm(values[0] - expected[0]) / np.linalg.norm(expected[0]))
        # A ReLU whose input is 0 except for rounding is active in one form and not in the other: then a row differs.
        gradient = np.abs(values[2] - expected[2]).max(axis=1)
        found["gradient_error"] = float(np.quantile(gradient, 0.99) / np.abs(expected[2]).max())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--longest", default="50,200")
    parser.add_argument("--widths", default="32,64")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contender, *numbers = arguments.measure
        print(json.dumps(measure(contender, *map(int, numbers))))
        return
    results = []
    for longest in map(int, arguments.longest.split(",")):
        for width in map(int, arguments.widths.split(",")):
            own: dict[str, Any] = {}
            for contender in arguments.contenders.split(","):
                found = apart(__file__, contender, longest, width, arguments.threads)
                own = own or found
                if "milliseconds" in found and "milliseconds" in own and found is not own:
                    found["time_of_first"] = round(found["milliseconds"] / own["milliseconds"], 2)
                    found["cpu_of_first"] = round(found["cpu_milliseconds"] / own["cpu_milliseconds"], 2)
                    found["memory_of_first"] = round(found["megabytes"] / max(own["megabytes"], 0.1), 2)
                entry = {"by": contender, "longest": longest, "width": width, **found}
                print(json.dumps(entry), flush=True)
                results.append(entry)
    if arguments.out:
        about = {**describe("numpy"), "batch": BATCH, "threads": arguments.threads}
        arguments.out.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
