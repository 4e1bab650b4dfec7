"""Fixtures of the tests of ops."""

from __future__ import annotations

import json
import pathlib

import pytest
from multirank.launch import start


@pytest.fixture(scope="session")
def bits_of_threads() -> list[dict[str, list]]:
    """What ops compute with 1, 2, 3 and 4 threads, which a process can't change: by op, numbers as text or checksums."""
    worker = str(pathlib.Path(__file__).with_name("threads_worker.py"))
    found = []
    for threads in (1, 2, 3, 4):
        done = start("plain", 1, [worker, str(threads)])
        assert done.returncode == 0, done.stderr[-3000:]
        found.append(json.loads(done.stdout))
    return found
