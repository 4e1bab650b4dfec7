"""Prepares batches ahead of the step in two threads: one reads, one packs."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from hvdrec.data.batch import InputPosition, PackedBatch, RowBlock
from hvdrec.data.source import RowSource

_log = logging.getLogger(__name__)
_MOST_BYTES = 256 << 20
# A read that hangs (a dead network disk) must not prevent the process from ending.
_JOIN_SECONDS = 10.0
# How often a waiting thread checks whether it should continue to wait.
_LOOK_SECONDS = 0.5
# After this wait a line says so, and again each time that it has doubled.
_TELL_SECONDS = 30.0


class WaitInterruptedError(Exception):
    """The wait was interrupted before an item arrived."""


class _ClosedError(Exception):
    """The consumer has gone; the threads stop."""


class _Queue:
    """A queue bounded by items and bytes; it always accepts at least one item.

    A producer that found it full continues when half of it is free, so that the two threads don't wake each
    other for every item.
    """

    def __init__(self, most_items: int, most_bytes: int) -> None:
        self._items: deque[tuple[Any, int]] = deque()
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._bytes = 0
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._freed = threading.Condition(lock)
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None
        self.waited = 0.0
        self.peak_items = 0

    def put(self, item: Any, size: int) -> None:
        with self._freed:
            while not self._closed and self._items and not self._fits(size):
                self._freed.wait()
            if self._closed:
                raise _ClosedError
            self._items.append((item, size))
            self._bytes += size
            self.peak_items = max(self.peak_items, len(self._items))
            self._filled.notify()

    def _fits(self, size: int) -> bool:
        return len(self._items) < self._most_items and self._bytes + size <= self._most_bytes

    def end(self, error: BaseException | None = None) -> None:
        """Marks the end of the items, with the `error` that caused it, if any."""
        with self._filled:
            self._ended = True
            self._error = error
            self._filled.notify_all()

    def get(self, look: Callable[[float], None] | None = None) -> Any:
        """Returns the next item; None at the end. Raises the producer's error.

        Args:
            look: Called about twice a second during the wait, with its seconds so far; what it raises ends
                the wait.
        """
        with self._filled:
            if not (self._items or self._ended or self._closed):
                started = time.perf_counter()
                while not (self._items or self._ended or self._closed):
                    arrived = self._filled.wait(None if look is None else _LOOK_SECONDS)
                    if look is not None and not arrived:
                        look(time.perf_counter() - started)
                self.waited += time.perf_counter() - started
            if self._closed:
                raise _ClosedError
            if self._items:
                item, size = self._items.popleft()
                self._bytes -= size
                if len(self._items) <= self._most_items // 2:
                    self._freed.notify()
                return item
            if self._error is not None:
                raise self._error
            return None

    def close(self) -> None:
        with self._filled:
            self._closed = True
            self._items.clear()
            self._filled.notify_all()
            self._freed.notify_all()


@dataclasses.dataclass(frozen=True)
class LoaderStats:
    """The counters of a loader.

    Attributes:
        rows: Rows passed to the consumer.
        batches: Batches passed to the consumer.
        bad_rows: Rows skipped because of `ignore_error` in these batches, not in those read ahead.
        first_bad: Location and problem of one of them.
        unseen: The input fields without a value in any of the rows.
        weightless: Whether all rows that were passed, at least one, have the sample weight 0.
        wait_seconds: Time the consumer waited for a batch.
        read_seconds: Time that the reading thread worked.
        pack_seconds: Time that the packing thread worked.
        peak_batches: The maximum number of batches ready at once.
        peak_rows: The maximum number of rows held by the reader.
    """

    rows: int
    batches: int
    bad_rows: int
    first_bad: str | None
    unseen: tuple[str, ...]
    weightless: bool
    wait_seconds: float
    read_seconds: float
    pack_seconds: float
    peak_batches: int
    peak_rows: int


class _Pipe:
    """The state shared by the threads, without a reference to the loader, which can thus be collected."""

    def __init__(self, source: RowSource, pack: Callable[[RowBlock], PackedBatch], prefetch: int) -> None:
        self.source = source
        self.pack = pack
        # A queue of lists of blocks; each list was split together.
        self.runs = _Queue(2, _MOST_BYTES // 4)
        self.batches = _Queue(prefetch, _MOST_BYTES)
        self.read_seconds = 0.0
        self.pack_seconds = 0.0
        self.threads = [
            threading.Thread(target=self._read, name="hvdrec-read", daemon=True),
            threading.Thread(target=self._pack, name="hvdrec-pack", daemon=True),
        ]

    def _read(self) -> None:
        try:
            runs = self.source.runs()
            while True:
                started = time.perf_counter()
                run = next(runs, None)
                self.read_seconds += time.perf_counter() - started
                if run is None:
                    break
                self.runs.put(run, sum(block.columns.nbytes for block in run))
            self.runs.end()
        except _ClosedError:
            pass
        except BaseException as error:
            self.runs.end(error)
        finally:
            self.source.close()

    def _pack(self) -> None:
        try:
            while (run := self.runs.get()) is not None:
                for block in run:
                    batch = self._pack_block(block)
                    self.batches.put(batch, sum(array.nbytes for array in batch.arrays.values()))
            self.batches.end()
        except _ClosedError:
            pass
        except BaseException as error:
            self.batches.end(error)

    def _pack_block(self, block: RowBlock) -> PackedBatch:
        started = time.perf_counter()
        batch = self.pack(block)
        batch.position = block.position
        batch.locate = batch.locate or block.locate
        batch.bad_rows += block.bad_rows
        batch.first_bad = block.first_bad or batch.first_bad
        self.pack_seconds += time.perf_counter() - started
        return batch

    def close(self) -> None:
        self.source.stop()
        self.runs.close()
        self.batches.close()
        for thread in self.threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)


class Loader:
    """Iterates over packed batches that two background threads prepare.

    An error in a thread is raised here, after the batches before it have been returned. Use it in a `with`
    block, or call `close()`; an unreferenced loader closes itself.

    Attributes:
        interrupted: Whether to give up waiting for a batch, with `WaitInterruptedError`; None: never.
    """

    interrupted: Callable[[], bool] | None = None

    def __init__(
        self,
        source: RowSource,
        pack: Callable[[RowBlock], PackedBatch],
        prefetch: int = 32,
    ) -> None:
        """Starts reading immediately.

        Args:
            source: The source of blocks; the loader closes it.
            pack: Converts a block to a batch; called in a separate thread.
            prefetch: The maximum number of ready batches (`data_config.prefetch_size`), at least 1.
        """
        self._pipe = _Pipe(source, pack, max(1, prefetch))
        self._rows = 0
        self._batches = 0
        self._bad_rows = 0
        self._first_bad: str | None = None
        self._unseen: tuple[str, ...] = ()
        self._weighs = False
        for thread in self._pipe.threads:
            thread.start()
        self._finalizer = weakref.finalize(self, self._pipe.close)

    def __iter__(self) -> Iterator[PackedBatch]:
        return self

    def __next__(self) -> PackedBatch:
        try:
            batch = self._pipe.batches.get(self._look())
        except _ClosedError:
            batch = None
        if batch is None:
            raise StopIteration
        self._rows += batch.rows
        self._batches += 1
        self._bad_rows += batch.bad_rows
        self._unseen = batch.unseen
        if not self._weighs:
            weights = batch.arrays.get("sample_weight")
            self._weighs = weights is None or bool(weights.any())
        if batch.notice is not None:
            _log.warning("%s", batch.notice)
        if self._first_bad is None:
            self._first_bad = batch.first_bad
            if self._first_bad is not None:
                _log.warning(
                    "ignore_error: skipping %s; further invalid rows are only counted", self._first_bad
                )
        return batch

    def _look(self) -> Callable[[float], None]:
        """What to do while waiting for a batch."""
        next_line = _TELL_SECONDS

        def look(seconds: float) -> None:
            nonlocal next_line
            if self.interrupted is not None and self.interrupted():
                raise WaitInterruptedError
            if seconds >= next_line:
                _log.info("no batch for %.0f s: its rows are still being read", seconds)
                next_line *= 2

        return look

    def batches_after(self, position: InputPosition) -> int | None:
        """The estimated number of batches after a position; see `RowSource.blocks_after`."""
        return self._pipe.source.blocks_after(position)

    def stats(self) -> LoaderStats:
        """The counts and times so far."""
        pipe = self._pipe
        return LoaderStats(
            rows=self._rows,
            batches=self._batches,
            bad_rows=self._bad_rows,
            first_bad=self._first_bad,
            unseen=self._unseen if self._rows else (),
            weightless=self._rows > 0 and not self._weighs,
            wait_seconds=pipe.batches.waited,
            read_seconds=pipe.read_seconds,
            pack_seconds=pipe.pack_seconds,
            peak_batches=pipe.batches.peak_items,
            peak_rows=pipe.source.peak_rows,
        )

    def close(self) -> None:
        """Stops both threads and waits for them."""
        self._finalizer()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
