"""Saves in the background: the values are captured immediately and written by a thread."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.snapshot import Snapshot
from hvdrec.checkpoint.store import Staged, Store

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Saved:
    """A finished save.

    Attributes:
        step: `global_step`.
        prefix: Where it is.
        held: Seconds that training was blocked: waiting for the previous save, copying the values or, if they
            are large, writing them.
        written: Seconds that the thread took to write them and to wait for the disk.
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

    def begin(self, step: int) -> Path:
        """Waits for the previous save, and creates the folder for parts that ranks write themselves.

        Raises:
            CheckpointError: The previous save failed, or the folder can't be created.
        """
        self._join()
        return self.store.begin(step)

    def start(
        self,
        step: int,
        entries: Sequence[SavedTensor],
        extra: Mapping[str, Any],
        staged: Staged | None = None,
    ) -> None:
        """Takes the current values and begins to write them; waits for the save before this one.

        Large values (`Snapshot.is_large`) are written when it returns, but not yet synced to disk.

        Args:
            step: `global_step`.
            entries: What to save.
            extra: JSON values kept beside it.
            staged: The already written parts of split entries.

        Raises:
            CheckpointError: The previous save failed.
        """
        began = staged.began if staged else time.monotonic()
        self._join()
        tensors = Snapshot(entries)
        held = time.monotonic() - began
        # Not a daemon: if the program ends without `close`, the interpreter still waits for the thread.
        self._thread = threading.Thread(
            target=self._write, args=(step, tensors, extra, held, staged), name="hvdrec-save"
        )
        self._thread.start()
        if tensors.is_large:
            tensors.released.wait()

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

    def _write(
        self, step: int, tensors: Snapshot, extra: Mapping[str, Any], held: float, staged: Staged | None
    ) -> None:
        began, large = time.monotonic(), tensors.is_large
        try:
            prefix = self.store.write(step, tensors, extra, staged)
            held += tensors.released_at - began if large else 0.0
            self._saved.append(Saved(step, prefix, held, time.monotonic() - began))
        except Exception as error:
            self._error = error
        finally:
            tensors.release()
