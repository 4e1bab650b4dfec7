"""Runs on parameter servers for tests: the launcher's processes, and jobs with distributed tables."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data

from hvdrec.config.flags import parse_predict
from hvdrec.predict import run

SECONDS = 150.0


class ServerRun:
    """`python -m hvdrec.launch ps ...` and its output."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "hvdrec.launch", "ps", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def until(self, reached: Callable[[], object]) -> None:
        began = time.monotonic()
        while not reached():
            assert self.process.poll() is None, self.text
            assert time.monotonic() - began < SECONDS, self.text
            time.sleep(0.05)

    def wait(self) -> int:
        """The exit code; nothing it started is left."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        code = self.process.wait(SECONDS)
        self._reader.join(10)
        assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE], self.text
        return code

    def role(self, name: str) -> psutil.Process:
        """A process by its role, as ``worker-1``."""
        role, _, index = name.partition("-")
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            for child in psutil.Process(self.process.pid).children():
                # Between its fork and its own program a process has the launcher's environment.
                with contextlib.suppress(psutil.Error, KeyError):
                    task = json.loads(child.environ()["TF_CONFIG"])["task"]
                    if task == {"type": role, "index": int(index or 0)}:
                        return child
            time.sleep(0.05)
        raise AssertionError(f"{name} is not there: {self.text}")


def small_job(folder: pathlib.Path, name: str, **changes: object) -> SmallJob:
    """20 steps of 48 rows, of 1,920 that are written to `folder` if they aren't there."""
    data = folder / "train.csv"
    if not data.exists():
        write_data(data, 1920)
        write_data(folder / "eval.csv", 700, seed=1)
    found: dict[str, object] = {"batch_size": 48, "steps": 20, "batch_norm": False, **changes}
    return SmallJob(data, folder / name, **found)  # type: ignore[arg-type]


def write(job: SmallJob) -> str:
    """Writes the config, with tables large enough for two servers, and returns its path."""
    path = job.model_dir.with_suffix(".config")
    path.write_text(job.text().replace("hash_bucket_size: 200", "hash_bucket_size: 40000"))
    return str(path)


def values(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    """All variables of a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def predict(*source: str | pathlib.Path, rows: pathlib.Path) -> np.ndarray:
    """The probabilities that `hvdrec.predict` finds for the rows of a file."""
    out = rows.with_name("predicted.csv")
    written = (
        "--output_path",
        str(out),
        "--output_cols",
        "probs",
        "--reserved_cols",
        "label",
        "--output_sep",
        ",",
    )
    with pytest.MonkeyPatch.context() as patch:
        # TensorFlow runs already in this process.
        patch.setattr("hvdrec.commands.predict.set_threads", lambda *_: None)
        run(parse_predict([*map(str, source), "--input_path", str(rows), *written]))
    files = sorted(out.glob("part-*")) if out.is_dir() else [out]
    lines = [line for file in files for line in file.read_text().splitlines()[1:]]
    return np.array([float(line.split(",")[0]) for line in lines])
