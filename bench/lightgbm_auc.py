"""LightGBM on Adult with an objective of hvdrec.numpy, RankNet's loss of all pairs, and with its own `binary`.

    .venv/bin/python bench/lightgbm_auc.py [--train data/adult/train.csv --test data/adult/test.csv] [--seeds 30] [--out FILE]

Both use the same settings of trees; the AUC on the test rows and the seconds of training are compared, over seeds:
mean and standard deviation of each, and of the differences seed by seed.
LightGBM is in the extra `bench`.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import sys
import time
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import hvdrec
from bench.machine import describe, report

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "verbosity": -1,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
}
#: The change of the margin for the second derivatives.
STEP = 1e-3


def objective(scores: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and diagonal of the Hessian of RankNet's loss, for labels 0 and 1.

    A row is then the higher one in all its pairs, or the lower one in all. Changing the margin therefore changes its score
    relative to all others, and the change of its gradient is its second derivative.
    """
    labels = data.get_label()
    _, gradient = hvdrec.numpy.ranknet(labels, scores)
    _, above = hvdrec.numpy.ranknet(labels, scores, margin=STEP)
    _, below = hvdrec.numpy.ranknet(labels, scores, margin=-STEP)
    # LightGBM expects sums over rows: its limits for leaves refer to them.
    rows = len(scores)
    return gradient * rows, np.abs(above - below) / (2 * STEP) * rows


def read(path: pathlib.Path, codes: list[dict[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Features (texts are numbered in the order of their occurrence) and labels of a file of Adult."""
    rows = [line for line in csv.reader(path.open(encoding="utf-8")) if line]
    columns: list[Any] = []
    for i, column in enumerate(zip(*(row[1:] for row in rows), strict=True)):
        try:
            columns.append([float(value) for value in column])
        except ValueError:
            codes.extend({} for _ in range(i + 1 - len(codes)))
            columns.append([codes[i].setdefault(value.strip(), len(codes[i])) for value in column])
    labels = np.array([row[0] for row in rows], np.float32)
    return np.array(columns, np.float64).T, labels


def train(kind: str, train_rows: Any, test_rows: Any, rounds: int, seed: int) -> dict[str, float]:
    """The test AUC and the seconds of one training."""
    import lightgbm

    data = lightgbm.Dataset(train_rows[0], train_rows[1])
    chosen = objective if kind == "ranknet" else "binary"
    began = time.monotonic()
    model = lightgbm.train({**SETTINGS, "objective": chosen, "seed": seed}, data, num_boost_round=rounds)
    seconds = time.monotonic() - began
    scores = model.predict(test_rows[0], raw_score=True)
    return {"auc": auc(test_rows[1], scores), "seconds": round(seconds, 2)}


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The fraction of pairs in the right order; ties count as a half."""
    distinct, rank = np.unique(scores, return_inverse=True)
    positive = np.bincount(rank, weights=labels, minlength=len(distinct))
    negative = np.bincount(rank, minlength=len(distinct)) - positive
    won = positive * (np.cumsum(negative) - 0.5 * negative)
    return float(won.sum() / (positive.sum() * negative.sum()))


def spread(values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation (of a sample, 0 for one value), and the smallest and largest value."""
    found = {
        "mean": values.mean(),
        "deviation": values.std(ddof=1) if len(values) > 1 else 0.0,
        "least": values.min(),
        "most": values.max(),
    }
    return {name: round(float(value), 7) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--train", type=pathlib.Path, default=ROOT / "data/adult/train.csv")
    parser.add_argument("--test", type=pathlib.Path, default=ROOT / "data/adult/test.csv")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=30, help="their number")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    try:
        import lightgbm  # noqa: F401
    except ImportError:
        print("lightgbm is not installed: nothing is measured (pip install -e .[bench])", file=sys.stderr)
        return
    codes: list[dict[str, int]] = []
    train_rows, test_rows = read(arguments.train, codes), read(arguments.test, codes)
    results = {
        kind: [
            train(kind, train_rows, test_rows, arguments.rounds, seed)
            for seed in range(1, arguments.seeds + 1)
        ]
        for kind in ("binary", "ranknet")
    }
    found = {kind: np.array([result["auc"] for result in each]) for kind, each in results.items()}
    found["ranknet - binary"] = found["ranknet"] - found["binary"]
    summary = {name: spread(values) for name, values in found.items()}
    report(
        {"benchmark": "lightgbm_auc", **describe("lightgbm", "numpy"), "auc": summary, "results": results},
        arguments.out,
    )


if __name__ == "__main__":
    main()
