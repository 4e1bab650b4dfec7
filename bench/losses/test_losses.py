"""Times of the losses and of other implementations: `pytest bench/losses` (docs/benchmarks.md).

Every case runs in its own process, because TensorFlow's number of threads is fixed in a process, and so that the peak of
memory belongs to one case. pytest-benchmark's clock is advanced by the seconds that the process measures.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from bench.losses.contenders import missing

#: A case ends its rounds after this time.
SECONDS = 5.0


class Process:
    """A case's process, and the clock of what it has measured."""

    def __init__(self, case: dict[str, Any], clock: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("contenders.py")), clock, json.dumps(case)],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.now = 0.0
        self.about = json.loads(self._line())

    def _line(self) -> str:
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"the case's process ended: {self._child.stderr.read()[-2000:]}")
        return line

    def __call__(self) -> float:
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        seconds = float(self._line())
        self.now += seconds
        return seconds

    def close(self) -> None:
        # It has written all its results; TensorFlow's shutdown may take seconds.
        self._child.kill()
        self._child.communicate()


def test_loss(benchmark: Any, case: dict[str, Any], pytestconfig: pytest.Config) -> None:
    package = missing(case["by"])
    if package:
        pytest.skip(f"{package} is not installed")
    clock = pytestconfig.getoption("--clock")
    process = Process(case, clock)
    try:
        benchmark.group = "-".join(str(case[part]) for part in ("loss", "rows", "dim", "threads", "backward"))
        benchmark.extra_info.update(case, clock=clock, **process.about)
        warm = process()
        rounds = max(1, min(pytestconfig.getoption("--rounds"), int(SECONDS / max(warm, 1e-6))))
        benchmark._timer = lambda: process.now
        benchmark.pedantic(process, rounds=rounds, iterations=1)
    finally:
        process.close()
