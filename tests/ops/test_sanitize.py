"""Kernels of losses, of deferred updates and of layers, under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)  # It compiles.
def test_kernels() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    command = ["make", "-j2", "sanitize", "ARGS=--short"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    for kernels in ("pairwise", "similarity", "lists", "deferred_adam", "attention", "layers", "phases"):
        assert re.search(rf"^{kernels}: \d+ cases, 0 failed$", done.stdout, re.MULTILINE)
