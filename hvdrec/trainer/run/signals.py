"""SIGTERM and SIGINT: save at the next step and stop; a second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from hvdrec.trainer.run.log import logger

_WATCHED = (signal.SIGTERM, signal.SIGINT)
_END = b"\0"


class StopSignals:
    """Which signal has asked this process to stop, if any.

    The C handler of Python writes each signal's number into a pipe that a thread reads. So a signal
    is noticed while the main thread is inside TensorFlow or waits for other ranks, where a Python
    handler would have to wait too.

    Attributes:
        received: The first signal's number, 0 before there was one.
    """

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self.received = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[StopSignals]:
        """Watches until the end of the block; for the main thread only."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = {number: signal.signal(number, _ignore) for number in _WATCHED}
        descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._watch, args=(reading,), name="hvdrec-signals", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(writing, _END)
            thread.join()
            os.close(reading)
            os.close(writing)

    def _watch(self, reading: int) -> None:
        while (byte := os.read(reading, 1)) != _END:
            number = byte[0]
            if number not in _WATCHED:
                continue
            if self.received:
                # Not sys.exit: the main thread may never come back from a collective.
                os._exit(128 + number)
            self.received = number
            logger.warning(
                "%s: saving at the next step, then stopping; once more stops at once",
                signal.Signals(number).name,
            )


def _ignore(number: int, frame: FrameType | None) -> None:
    """Stands for the default action, which would end the process; the thread does the work."""
