"""Times of the losses, and of what others have: `pytest bench/losses` (docs/benchmarks.md).

Every case is a process of its own, as TensorFlow's number of threads is one for a process, and so that a peak of memory
is a case's own. pytest-benchmark's clock is moved on by the seconds that the process measures.
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

#: A case takes no more rounds once it has taken so long.
SECONDS = 5.0


class Process:
    """A case's process, and the clock of what it has measured."""

    def __init__(self, case: dict[str, Any]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("contenders.py")), json.dumps(case)],
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
        # It has told all that it had to; TensorFlow's way out may take seconds.
        self._child.kill()
        self._child.communicate()


def test_loss(benchmark: Any, case: dict[str, Any], pytestconfig: pytest.Config) -> None:
    package = missing(case["by"])
    if package:
        pytest.skip(f"{package} is not installed")
    process = Process(case)
    try:
        benchmark.group = "-".join(str(case[part]) for part in ("loss", "rows", "dim", "threads", "backward"))
        benchmark.extra_info.update(case, **process.about)
        warm = process()
        rounds = max(1, min(pytestconfig.getoption("--rounds"), int(SECONDS / max(warm, 1e-6))))
        benchmark._timer = lambda: process.now
        benchmark.pedantic(process, rounds=rounds, iterations=1)
    finally:
        process.close()
