"""Rows for the matching models in configs/ on Amazon's Toys and Games, and the models' plain rivals.

    .venv/bin/python bench/toys_retrieval.py --data ../shared/data/amazon-toys --out runs/toys

Writes to `--out`:

- train.csv and test.csv, the positive rows of the data's files, in their order: a list-wise model takes every row
  as positive. Two columns are added, the last item of the history and its category.
- items.csv, a row of the same columns for each item, for hvdrec.retrieve.
- baselines.json, which is also printed: hit rate, recall, MRR and NDCG at 10 and 50 over all items for each
  test row, by popularity (the number of training users with the item) and by item-item cosine (the sum over
  the history of users with both / sqrt(users with one * users with the other), over training users). Both skip the
  items of the row's history, as `hvdrec.retrieve --exclude_field hist_items` does.

With --hold_out, for choosing settings, the test rows aren't read: test.csv has the last training row of each user, and
train.csv the others.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pathlib
import sys

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hvdrec.metrics.retrieval import RetrievalQuality

TOPK = (10, 50)


def positive_rows(file: pathlib.Path) -> list[list[str]]:
    """The cells of the rows with label 1."""
    with gzip.open(file, "rt") as lines:
        return [line.rstrip("\n").split(",") for line in lines if line.startswith("1,")]


def without_last(rows: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """All rows but each user's last one, whose item is in no history of the user, and those last ones."""
    known: dict[str, set[str]] = {}
    for row in rows:
        known.setdefault(row[1], set()).update(row[4].split("|"))
    last = {row[1]: i for i, row in enumerate(rows) if row[2] not in known[row[1]]}
    held = set(last.values())
    return [row for i, row in enumerate(rows) if i not in held], [rows[i] for i in sorted(held)]


def write_rows(rows: list[list[str]], out: pathlib.Path) -> None:
    """Writes rows with the ends of their histories."""
    ends = ([history.rpartition("|")[2] for history in row[4:6]] for row in rows)
    out.write_text("".join(",".join([*row, *end]) + "\n" for row, end in zip(rows, ends, strict=True)))


def item_rows(table: pathlib.Path, out: pathlib.Path) -> int:
    """Writes a row for each item of an item table, and returns the largest item + 1."""
    features = [line.split("\t")[2] for line in table.read_text().splitlines()[1:]]
    out.write_text("".join(f"1,,{feature.replace(':', ',')},,,,\n" for feature in features))
    return 1 + max(int(feature.partition(":")[0]) for feature in features)


def items_of_users(rows: list[list[str]]) -> list[np.ndarray]:
    """The distinct items in each user's training rows, including those of the histories."""
    found: dict[str, set[int]] = {}
    for _, user, item, _, history, _ in rows:
        found.setdefault(user, set()).update([int(item), *map(int, history.split("|"))])
    return [np.array(sorted(items)) for items in found.values()]


class Cosine:
    """The cosine between the sets of users of two items, for pairs with common users."""

    def __init__(self, users: list[np.ndarray], items: int) -> None:
        self.counts = np.bincount(np.concatenate(users), minlength=items)
        keys = np.concatenate([(each[:, np.newaxis] * items + each).ravel() for each in users])
        pairs, both = np.unique(keys, return_counts=True)
        first, self.second = pairs // items, pairs % items
        roots = np.sqrt(self.counts.astype(np.float64))
        self.values = both / (roots[first] * roots[self.second])
        self.starts = np.searchsorted(first, np.arange(items + 1))

    def scores(self, history: np.ndarray) -> np.ndarray:
        """The score of every item for one user."""
        total = np.zeros(len(self.counts))
        for item in history:
            own = slice(self.starts[item], self.starts[item + 1])
            total[self.second[own]] += self.values[own]
        return total


def ranked(scores: np.ndarray, history: np.ndarray) -> np.ndarray:
    """The items with the largest scores, without those of the history; smaller ids first if equal."""
    scores = scores.copy()
    scores[history] = -1.0
    scores[0] = -1.0
    few = np.argpartition(-scores, 4 * max(TOPK))[: 4 * max(TOPK)]
    return few[np.lexsort((few, -scores[few]))][: max(TOPK)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--hold_out", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train = positive_rows(arguments.data / "train.csv.gz")
    train, test = (
        without_last(train) if arguments.hold_out else (train, positive_rows(arguments.data / "test.csv.gz"))
    )
    write_rows(train, arguments.out / "train.csv")
    write_rows(test, arguments.out / "test.csv")
    items = item_rows(arguments.data / "items.txt", arguments.out / "items.csv")
    cosine = Cosine(items_of_users(train), items)
    popularity = cosine.counts.astype(np.float64)
    qualities = {"popularity": RetrievalQuality(TOPK), "item-item cosine": RetrievalQuality(TOPK)}
    for row in test:
        history, chosen = np.array([int(i) for i in row[4].split("|")]), {int(row[2])}
        for name, scores in (("popularity", popularity), ("item-item cosine", cosine.scores(history))):
            qualities[name].add(ranked(scores, history).tolist(), chosen)
    results = {
        name: {"users": q.users, **{k: round(v, 5) for k, v in q.result().items()}}
        for name, q in qualities.items()
    }
    for name, result in results.items():
        print(json.dumps({"by": name, **result}), flush=True)
    (arguments.out / "baselines.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
