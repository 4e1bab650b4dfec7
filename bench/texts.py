"""The time of operations on texts: native kernels compared with TensorFlow's operations.

    .venv/bin/python bench/texts.py [--rows 1024] [--calls 20] [--threads 1] [--out FILE.json]

Both versions run in one process on the same random texts of words, and calls alternate. `microseconds` is the median time
of a row, `ratio` the median over the pairs of calls of TensorFlow's time divided by the kernel's. That both give the
same results is tested (tests/ops/test_text.py).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench.machine import describe, report

WORDS, QUERY, TITLE, WARM = 2000, 4, 12, 2


def _texts(rng: np.random.Generator, rows: int, words: int, values: bool = False) -> list[bytes]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzé中文"))
    vocabulary = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(WORDS)]

    def word() -> str:
        return rng.choice(vocabulary) + (f":{rng.uniform():.3f}" if values else "")

    return [" ".join(word() for _ in range(words)).encode() for _ in range(rows)]


def operations(rows: int) -> dict[str, Callable[[str], Any]]:
    """Each operation on its texts, by the name of its implementation."""
    import tensorflow as tf

    from hvdrec.ops.text.characters import replacements
    from hvdrec.ops.text.edit_distance import edit_distance
    from hvdrec.ops.text.mapped_dot_product import mapped_dot_product
    from hvdrec.ops.text.normalize import Replacements, normalize
    from hvdrec.ops.text.overlap import overlap

    rng = np.random.default_rng(1)
    query, title = (tf.constant(_texts(rng, rows, words)) for words in (QUERY, TITLE))
    tags, others = (tf.constant(_texts(rng, rows, words, values=True)) for words in (QUERY, TITLE))
    by = Replacements(replacements(upper=True, narrow=True, simplified=True, filtered=True), True)
    methods = ["query_common_ratio", "is_contain", "proximity_min_cover", "proximity_avg_dist"]
    return {
        "TextNormalize": lambda impl: normalize(title, by, impl=impl),
        "EditDistance": lambda impl: edit_distance(query, title, impl=impl),
        "OverlapFeature": lambda impl: overlap(query, title, " ", -1.0, methods, impl=impl),
        "MappedDotProduct": lambda impl: mapped_dot_product(tags, others, " ", 0.0, impl=impl),
    }


def measure(compute: Callable[[str], Any], rows: int, calls: int) -> dict[str, Any]:
    """The times of one operation."""
    import tensorflow as tf

    sides = {impl: tf.function(lambda impl=impl: compute(impl)) for impl in ("native", "tensorflow")}
    times: dict[str, list[float]] = {impl: [] for impl in sides}
    for call in range(-WARM, calls):
        for impl in sorted(sides, reverse=bool(call % 2)):
            start = time.perf_counter()
            sides[impl]().numpy()
            if call >= 0:
                times[impl].append(time.perf_counter() - start)
    ratios = np.divide(times["tensorflow"], times["native"])
    return {
        "microseconds": {impl: round(1e6 * float(np.median(t)) / rows, 3) for impl, t in times.items()},
        "ratio": round(float(np.median(ratios)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    results = {
        name: measure(compute, arguments.rows, arguments.calls)
        for name, compute in operations(arguments.rows).items()
    }
    settings = {"rows": arguments.rows, "threads": arguments.threads}
    report({**describe("numpy"), **settings, "results": results}, arguments.out)


if __name__ == "__main__":
    main()
