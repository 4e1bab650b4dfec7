"""Commands whose output nobody reads to its end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import pytest

from hvdrec.commands.closed_pipe import EXIT_CODE, until_closed
from hvdrec.commands.main import main


@contextlib.contextmanager
def _nobody_reads() -> Iterator[None]:
    """Standard output is a pipe that has no reader."""
    end, begin = os.pipe()
    os.close(end)
    with os.fdopen(begin, "w") as file, contextlib.redirect_stdout(file):
        yield


def test_it_ends_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    def run(flags: object) -> None:
        print("x" * 100_000)

    with _nobody_reads():
        assert main(list, run, ["--verbose"]) == EXIT_CODE
    assert capfd.readouterr().err == ""


def test_what_is_written_last_counts_too() -> None:
    def work() -> int:
        print("short")
        sys.exit(0)

    with _nobody_reads():
        assert until_closed(work) == EXIT_CODE
        # Python flushes once more at its exit.
        sys.stdout.flush()
