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
