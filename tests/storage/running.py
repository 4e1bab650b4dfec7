"""Runs of the entry points that must not reveal a key."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from multirank.launch import start


def run(
    module: str, ranks: int, flags: Sequence[str], variables: Mapping[str, str], secret: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m hvdrec.<module>`` to its end."""
    launcher = "gloo" if ranks > 1 else "plain"
    ended = start(launcher, ranks, ["-m", f"hvdrec.{module}", *flags], environment=variables)
    assert secret not in ended.stdout + ended.stderr
    return ended


def ok(
    module: str, ranks: int, flags: Sequence[str], variables: Mapping[str, str], secret: str
) -> subprocess.CompletedProcess[str]:
    """The same, and it must succeed."""
    ended = run(module, ranks, flags, variables, secret)
    assert ended.returncode == 0, ended.stderr
    return ended
