"""How long a save blocks training, how long it takes, and how long a resume takes; with tf.train.Checkpoint.

    python bench/checkpoint.py [--sizes 10,100,500] [--times 3] [--folder DIR] [--out FILE.json]

A size is megabytes of variables: a bank of eight 16-wide tables with Adam's two slots. `held` is the call
that takes the values; `first_update` is the following update of every variable, during the save, and
`update` one without a save (TensorFlow copies a buffer that a save still references before it updates it);
`save` lasts until the checkpoint is complete; `resume` finds the newest checkpoint and restores it.

The two sides don't guarantee the same: hvdrec waits for the disk (fsync) and stores a SHA-256, which a
resume compares; TensorFlow does neither (both store a CRC32C of each tensor), and blocks training for the
whole save. `tensorflow_fsync` is TensorFlow's save with its files synced. All files are synced to disk before
the next measurement begins. Resumes read files that are in the page cache. Each size runs in its own process;
the sides alternate, and the median of `--times` counts. Prints results as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from machine import describe, report

TABLES = 8
WIDTH = 16
SLOTS = ("", "/Adam", "/Adam_1")


def seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


class Model:
    """Variables of a given size, and both sides' ways to save and restore them."""

    def __init__(self, megabytes: float, folder: pathlib.Path) -> None:
        import tensorflow as tf

        from hvdrec.checkpoint.names import GLOBAL_STEP, SavedTensor

        rows = max(1, round(megabytes * 1e6 / (4 * WIDTH * TABLES * len(SLOTS))))
        shape = [rows * TABLES, WIDTH]
        self.folder = folder
        self.banks = [tf.Variable(tf.random.stateless_normal(shape, [7, i])) for i in range(len(SLOTS))]
        self.step = tf.Variable(0, dtype=tf.int64)
        self.entries = [SavedTensor(GLOBAL_STEP, self.step, None)] + [
            SavedTensor(
                f"input_layer/f{t}_embedding/embedding_weights{slot}", bank, (t * rows, (t + 1) * rows)
            )
            for slot, bank in zip(SLOTS, self.banks, strict=True)
            for t in range(TABLES)
        ]
        self.checkpoint = tf.train.Checkpoint(banks=self.banks, step=self.step)
        self.update = tf.function(lambda: [bank.assign_add(bank * 1e-3) for bank in self.banks] and None)
        self.bytes = sum(int(bank.shape.num_elements()) * 4 for bank in self.banks)

    def save_hvdrec(self) -> dict[str, float]:
        from hvdrec.checkpoint.background import BackgroundSaver
        from hvdrec.checkpoint.store import Store

        self.step.assign_add(1)
        saver = BackgroundSaver(Store(str(self.folder / "hvdrec"), keep_max=1))
        began = time.perf_counter()
        held = seconds(lambda: saver.start(int(self.step), self.entries, {}))
        first = seconds(self.update)
        saver.wait()
        return {"held": held, "first_update": first, "save": time.perf_counter() - began}

    def save_tensorflow(self) -> dict[str, float]:
        from hvdrec.checkpoint.files import sync_file

        prefix = self.folder / "tensorflow" / "model"
        spent = seconds(lambda: self.checkpoint.write(str(prefix)))
        synced = seconds(lambda: [sync_file(path) for path in prefix.parent.iterdir()])
        return {"save": spent, "save_fsync": spent + synced}

    def resume_hvdrec(self) -> None:
        from hvdrec.checkpoint.store import Store

        assert Store(str(self.folder / "hvdrec")).restore_newest(lambda prefix: self.entries)

    def resume_tensorflow(self) -> None:
        self.checkpoint.read(str(self.folder / "tensorflow" / "model")).assert_consumed()

    def checked(self, save: Callable[[], dict[str, float]], resume: Callable[[], None]) -> dict[str, float]:
        """Saves and resumes; checks that the values before the save are restored."""
        import numpy as np

        before = [bank.numpy()[:: TABLES * 8].copy() for bank in self.banks]
        result = save()
        for bank in self.banks:
            bank.assign(bank * 0)
        result["resume"] = seconds(resume)
        for bank, values in zip(self.banks, before, strict=True):
            np.testing.assert_array_equal(bank.numpy()[:: TABLES * 8], values)
        return result


def measure(megabytes: float, times: int, folder: str) -> None:
    """Measures one size and prints it; the body of a child."""
    model = Model(megabytes, pathlib.Path(folder))
    model.update()
    ours, theirs = [], []
    for turn in range(times + 1):
        update = seconds(model.update)
        one = {"update": update, **model.checked(model.save_hvdrec, model.resume_hvdrec)}
        other = model.checked(model.save_tensorflow, model.resume_tensorflow)
        if turn:  # The first turn warms up.
            ours.append(one)
            theirs.append(other)
    print(json.dumps({"bytes": model.bytes, "hvdrec": median(ours), "tensorflow": median(theirs)}))


def median(turns: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(turn[name] for turn in turns), 5) for name in turns[0]}


def run_size(megabytes: str, times: int, folder: pathlib.Path | None) -> dict[str, Any]:
    """Measures one size in its own process and directory, with the ratios."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, __file__, "--measure", megabytes, str(times), place]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    ours, theirs = result["hvdrec"], result["tensorflow"]
    stall = ours["held"] + max(0.0, ours["first_update"] - ours["update"])
    result["ratios"] = {
        "tensorflow_held_to_hvdrec_held": round(theirs["save"] / ours["held"], 1),
        "tensorflow_held_to_hvdrec_held_and_slower_update": round(theirs["save"] / stall, 1),
        "hvdrec_save_to_tensorflow": round(ours["save"] / theirs["save"], 2),
        "hvdrec_save_to_tensorflow_fsync": round(ours["save"] / theirs["save_fsync"], 2),
        "hvdrec_resume_to_tensorflow": round(ours["resume"] / theirs["resume"], 2),
    }
    print(f"{megabytes} MB: hvdrec {ours}; tensorflow {theirs}; {result['ratios']}", file=sys.stderr)
    return result


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        megabytes, times, folder = sys.argv[2:]
        return measure(float(megabytes), int(times), folder)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", default="10,100,500", help="megabytes of variables, by commas")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=pathlib.Path, help="where to write: the disk that is measured")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    about = describe("numpy", "tensorflow-cpu")
    sizes = {size: run_size(size, args.times, args.folder) for size in args.sizes.split(",")}
    report({"benchmark": "checkpoint", **about, "times": args.times, "sizes": sizes}, args.out)
    return None


if __name__ == "__main__":
    main()
