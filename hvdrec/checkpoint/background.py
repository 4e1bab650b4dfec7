"""Saves in the background: the values are captured immediately and written by a thread."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.store import Snapshot, Store

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Saved:
    """A finished save.

    Attributes:
        step: `global_step`.
        prefix: The checkpoint's prefix.
        held: Seconds that training was blocked: waiting for the previous save, and capturing the values.
        written: Seconds that the thread took to write them.
    """

    step: int
    prefix: str
    held: float
    written: float


class BackgroundSaver:
    """Saves into a checkpoint store, one at a time, in a thread.

    The error of a failed save is raised by the next call of any method.
    """

    def __init__(self, store: Store) -> None:
        """Doesn't save anything yet."""
        self.store = store
        self._thread: threading.Thread | None = None
        self._saved: list[Saved] = []
        self._error: Exception | None = None

    def start(self, step: int, entries: Sequence[SavedTensor], extra: Mapping[str, Any]) -> None:
        """Captures the current values and starts to write them; waits for the previous save.

        Args:
            step: `global_step`.
            entries: The entries to save.
            extra: JSON values saved with it.

        Raises:
            CheckpointError: The previous save failed.
        """
        began = time.monotonic()
        self._join()
        tensors = Snapshot(entries)
        held = time.monotonic() - began
        # Not a daemon: if the program ends without `close`, the interpreter still waits for the thread.
        self._thread = threading.Thread(
            target=self._write, args=(step, tensors, extra, held), name="hvdrec-save"
        )
        self._thread.start()

    def poll(self) -> list[Saved]:
        """The saves that have finished since the last call, without waiting.

        Raises:
            CheckpointError: A save failed.
        """
        if self._thread is not None and not self._thread.is_alive():
            self._join()
        saved, self._saved = self._saved, []
        return saved

    def wait(self) -> list[Saved]:
        """Like `poll`, but first waits for the save in progress."""
        self._join()
        return self.poll()

    def settle(self) -> None:
        """Waits for the save in progress; `poll` still reports it.

        Raises:
            CheckpointError: The save failed.
        """
        self._join()

    def close(self) -> None:
        """Waits for the save in progress; a failure is logged."""
        try:
            self.wait()
        except Exception as error:
            logger.error("%s", error)

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, step: int, tensors: Snapshot, extra: Mapping[str, Any], held: float) -> None:
        began = time.monotonic()
        try:
            prefix = self.store.write(step, tensors, extra)
            self._saved.append(Saved(step, prefix, held, time.monotonic() - began))
        except Exception as error:
            self._error = error
