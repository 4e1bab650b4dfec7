"""Ends quietly when the reader of a command's output has gone, as in ``hvdrec --help | head -1``."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

#: What a shell reports for a program that SIGPIPE ended.
EXIT_CODE = 128 + signal.SIGPIPE


def until_closed(work: Callable[[], int]) -> int:
    """Runs a command and writes what it has printed.

    Args:
        work: The command; it returns the exit code, or raises SystemExit.

    Returns:
        The exit code; that of SIGPIPE if the output can't be written because nobody reads it.
    """
    try:
        try:
            return work()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Python writes what is left at its exit, which would fail again.
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
        return EXIT_CODE
