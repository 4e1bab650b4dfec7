"""Starts a program on several ranks of this machine."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

_BIN = pathlib.Path(sys.executable).parent
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(launcher: str, ranks: int, arguments: Sequence[str]) -> list[str]:
    """The command that runs ``python <arguments>`` on `ranks` ranks."""
    script = [] if arguments[0].startswith("-") else [str(pathlib.Path(__file__).with_name("script.py"))]
    program = [sys.executable, *script, *arguments]
    if launcher == "plain":
        return program
    if launcher == "mpirun":
        return [str(_BIN / "mpirun"), "--allow-run-as-root", "--oversubscribe", "-np", str(ranks), *program]
    extra = ["--gloo"] if launcher == "gloo" else []
    return [str(_BIN / "horovodrun"), *extra, "-np", str(ranks), *program]


def start(
    launcher: str,
    ranks: int,
    arguments: Sequence[str],
    timeout: float = 240.0,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end and returns the output; fails if it hangs."""
    assert launcher == "plain" or shutil.which(str(_BIN / "horovodrun")), "horovodrun is not installed"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
    inherited["PYTHONPATH"] = os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])
    return subprocess.run(
        command(launcher, ranks, arguments),
        env={**inherited, **(environment or {})},
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
