"""SIGTERM and SIGINT: save at the next step and stop; a second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from hvdrec.parallel import keeper, launcher_process
from hvdrec.parallel.environment import launched_rank
from hvdrec.trainer.run.log import logger

_WATCHED = (signal.SIGTERM, signal.SIGINT)
_END, _MORE = b"\0", b"\xff"
#: How long the launcher is held for ranks that don't agree to stop: one of them may be gone, on another host.
_AGREE_SECONDS = 120.0


class StopSignals:
    """Which signal has asked this process to stop, if any.

    The C handler of Python writes each signal's number into a pipe that a thread reads. So a signal
    is noticed while the main thread is inside TensorFlow or waits for other ranks, where a Python
    handler would have to wait too. A launcher that has died counts as SIGTERM.

    Attributes:
        received: The first signal's number, 0 before there was one.
        peers: The other ranks' processes on this machine: number of the process, rank.
    """

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self.received = 0
        self._launcher: launcher_process.LauncherProcess | None = None
        self.peers: Mapping[int, int] = {}
        self._lost: Callable[[int], None] | None = None
        self._signals = 0
        self._agree_before: float | None = None
        self._writing = -1

    @contextlib.contextmanager
    def watching(self) -> Iterator[StopSignals]:
        """Watches until the end of the block; for the main thread only."""
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        launcher = launcher_process.find()
        if launcher is not None:
            with contextlib.suppress(OSError):
                self._launcher = launcher_process.LauncherProcess(launcher)
        before = {number: signal.signal(number, _ignore) for number in _WATCHED}
        descriptor = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        thread = threading.Thread(
            target=self._watch, args=(reading, launcher), name="hvdrec-signals", daemon=True
        )
        thread.start()
        try:
            yield self
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.write(self._writing, _END)
            thread.join()
            launcher_process.let_go()
            os.close(reading)
            os.close(self._writing)

    @contextlib.contextmanager
    def minding(self, lost: Callable[[int], None]) -> Iterator[None]:
        """Notices within the block, in which no rank ends but by a failure, that one of `peers` has.

        Args:
            lost: Called, from a thread, with its rank.
        """
        self._lost = lost
        os.write(self._writing, _MORE)
        try:
            yield
        finally:
            self._lost = None

    def heed(self) -> None:
        """All ranks have agreed to stop: from here on the launcher waits as long as it takes to save."""
        self._agree_before = None

    def say(self, line: str) -> bool:
        """Shows a line by way of the launcher, which may pass on nothing any more; whether it has."""
        return self._launcher is not None and self._launcher.say(line)

    def _watch(self, reading: int, launcher: int | None) -> None:
        with contextlib.ExitStack() as opened:
            poll = select.poll()
            poll.register(reading, select.POLLIN)
            ranks: dict[int, int | None] = {}

            def follow(found: Iterator[int], rank: int | None) -> None:
                """Has the ends of processes noticed: of a rank, or of the launcher (None)."""
                try:
                    for descriptor in found:
                        opened.callback(os.close, descriptor)
                        poll.register(descriptor, select.POLLIN)
                        ranks[descriptor] = rank
                except ProcessLookupError:
                    self._end_of(rank)

            follow(launcher_process.watched(launcher), None)
            while True:
                for descriptor, _ in poll.poll(self._patience()):
                    if descriptor != reading:
                        poll.unregister(descriptor)
                        self._end_of(ranks[descriptor])
                        continue
                    byte = os.read(reading, 1)
                    if byte == _END:
                        return
                    if byte == _MORE:
                        for pid, rank in self.peers.items():
                            follow(launcher_process.death(pid), rank)
                    elif byte[0] in _WATCHED:
                        self._receive(byte[0])
                if self._agree_before is not None and time.monotonic() > self._agree_before:
                    self._release()

    def _patience(self) -> float | None:
        """Milliseconds to wait for the next event."""
        if self._agree_before is None:
            return None
        return 1000.0 * max(0.0, self._agree_before - time.monotonic()) + 1.0

    def _receive(self, number: int) -> None:
        self._signals += 1
        keeper.tell(keeper.SIGNAL)
        if self._signals > 1:
            # Not sys.exit: the main thread may never come back from a collective.
            os._exit(128 + number)
        if number == signal.SIGTERM and self._launcher is not None:
            # At once, as it kills soon.
            self._launcher.hold()
            self._agree_before = time.monotonic() + _AGREE_SECONDS
        self._stop(signal.Signals(number).name, number)

    def _stop(self, why: str, number: int) -> None:
        if self.received:
            return
        self.received = number
        text = f"{why}: saving at the next step, then stopping; once more stops at once"
        if launched_rank() != 0:
            logger.info("%s", text)
        elif number != signal.SIGTERM or not self.say(text):
            logger.warning("%s", text)

    def _end_of(self, rank: int | None) -> None:
        """A rank is no more, or the launcher (None)."""
        if rank is None:
            self._stop("the launcher is gone", signal.SIGTERM)
        else:
            if self._lost is not None and not self.received:
                self._lost(rank)
            # This one is to end too, and nobody is there to agree with.
            self._release()

    def _release(self) -> None:
        self._agree_before = None
        launcher_process.let_go()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Stands for the default action, which would end the process; the thread does the work."""
