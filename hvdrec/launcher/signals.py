"""Signals that ask a launcher to stop its processes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def noted(received: list[int]) -> Iterator[None]:
    """Appends SIGINT and SIGTERM to `received` instead of acting on them, while the block runs."""

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
