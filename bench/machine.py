"""Describes the machine of a measurement, for the results of every benchmark."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any


def describe(*packages: str) -> dict[str, Any]:
    """The date, the hardware, the load and the versions of Python and of some packages."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def report(result: dict[str, Any], out: pathlib.Path | None) -> None:
    """Prints a benchmark's result, and writes it to a file if one is given."""
    text = json.dumps(result, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")


class Peak:
    """The memory of this process before a block and the most within it, looked at every 20 ms.

    Attributes:
        before: Bytes at the beginning.
        most: The most bytes since then.
    """

    def __init__(self, size: Callable[[], int]) -> None:
        """`size` returns the bytes that are watched."""
        self._size = size
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self.before = self.most = self._size()
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._size())

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()


def installed(contenders: list[str], needs: dict[str, str]) -> tuple[list[str], list[str]]:
    """The contenders whose packages are installed, and those packages; prints which are left out.

    Args:
        contenders: Names.
        needs: The package of the extra `bench` that a contender needs, if any.
    """
    there = [c for c in contenders if c not in needs or importlib.util.find_spec(needs[c].replace("-", "_"))]
    for left_out in (c for c in contenders if c not in there):
        print(f"{needs[left_out]} is not installed: {left_out} is left out", file=sys.stderr)
    return there, [needs[c] for c in there if c in needs]


def apart(program: str, *arguments: Any, **environment: str) -> dict[str, Any]:
    """Runs `program --measure arguments` in its own process, and returns what it prints last.

    Args:
        program: A Python file.
        *arguments: What to measure.
        **environment: Variables in addition to this process's.
    """
    done = subprocess.run(
        [sys.executable, program, "--measure", *map(str, arguments)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200] if done.stderr else str(done.returncode)}
    return json.loads(done.stdout.splitlines()[-1])


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
