"""Turns a format's rows into the blocks of one rank: epochs, shuffling, shares, positions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np

from hvdrec.data.batch import BEGINNING, InputPosition, RowBlock
from hvdrec.data.epochs import EpochReader
from hvdrec.data.order import BufferOrder, FileOrder, RowOrder, even_share, file_order
from hvdrec.data.rows import Format, Gathered, RowRefs, RowsFile
from hvdrec.errors import DataError

# Rows of one rank that are split together; blocks are slices of them.
_RUN_ROWS = 8192
# Rows of all ranks in such a run.
_RUN_ALL_ROWS = 1 << 17


@dataclasses.dataclass(frozen=True)
class ReadPlan:
    """How rows are ordered and distributed.

    Attributes:
        batch_size: Rows of a rank's full block.
        rank: This rank.
        size: Number of ranks.
        epochs: Passes over the data, 0 for no limit.
        shuffle: Whether files and rows are shuffled.
        shuffle_buffer: Rows of the shuffle buffer, over all ranks.
        seed: Seed of the order.
        whole_batches: Distribute whole batches to ranks round-robin (evaluation), so that a batch has the
            same rows for any number of ranks; else each global batch is cut into one slice per rank.
        shard_files: File i belongs to rank i mod size, and each rank has its own order.
        drop_remainder: Drop the last global batch if it isn't full.
        ignore_error: Skip and count rows that can't be split; else they raise DataError.
    """

    batch_size: int
    rank: int = 0
    size: int = 1
    epochs: int = 1
    shuffle: bool = False
    shuffle_buffer: int = 0
    seed: int = 0
    whole_batches: bool = False
    shard_files: bool = False
    drop_remainder: bool = False
    ignore_error: bool = False


class RowSource:
    """Iterates over this rank's blocks; equal arguments give the same rows in the same order.

    With batches of B rows per rank and N ranks, global batch k is rows [k N B, (k+1) N B) of one order
    of all rows, and rank r gets the r-th slice of B rows. The stream of rows continues across epochs without
    a break; the last global batch, if not full, is cut into N even slices, some of which may be empty. All
    ranks therefore yield the same number of blocks, and together the rows that one rank would yield with
    batches of N B.

    Attributes:
        rows: Rows of this rank read so far.
        numbered: What the number of a row is called in messages.
    """

    numbered = "row"

    def __init__(self, data: Format, plan: ReadPlan, start: InputPosition = BEGINNING) -> None:
        self.rows = 0
        self._format = data
        self._plan = plan
        if plan.shard_files:
            # Each rank has its own order, so nothing is left to divide.
            self._files = list(range(len(data.files)))[plan.rank :: plan.size]
            self._rank, self._size = 0, 1
        else:
            self._files = list(range(len(data.files)))
            self._rank, self._size = plan.rank, plan.size
        self._step = plan.batch_size * (1 if plan.whole_batches else self._size)
        self._most = max(1, min(_RUN_ROWS * self._size // self._step, _RUN_ALL_ROWS // self._step))
        self._epoch = start.epoch
        self._epoch_rows: int | None = None
        self._peak_rows = 0
        self._batch = 0
        self._row_base = 0
        self._pass = self._open_pass()
        self._start = start
        self._runs: Generator[list[RowBlock], None, None] | None = None
        self._stopped = False

    @property
    def files(self) -> Sequence[RowsFile]:
        """All files of the input, including other ranks'."""
        return self._format.files

    @property
    def peak_rows(self) -> int:
        """The maximum number of rows that this source has held in memory."""
        return max(self._peak_rows, self._pass.peak_rows)

    def blocks_after(self, position: InputPosition) -> int | None:
        """The number of this rank's blocks after a position.

        Returns:
            An estimate from the files' sizes during the first pass, exact later; None if no estimate is
            possible yet or there is no end.
        """
        rows, share = self._epoch_rows, self._format.share_read
        if rows is None and share > 0:
            rows = int(self._pass.arrived / share)
        if not rows or not self._plan.epochs:
            return None
        left = rows * (self._plan.epochs - position.epoch) - position.row
        return max(0, -(-left // self._step))

    def __iter__(self) -> Iterator[RowBlock]:
        return itertools.chain.from_iterable(self.runs())

    def runs(self) -> Iterator[list[RowBlock]]:
        """Iterates over the same blocks in lists of blocks that were split together."""
        if self._runs is None:
            self._runs = self._all_runs()
        return self._runs

    def stop(self) -> None:
        """Has the source give up, although a block isn't full yet; called from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Closes open files; the source can't be read any further."""
        if self._runs is not None:
            self._runs.close()
        self._pass.close()

    def _all_runs(self) -> Generator[list[RowBlock], None, None]:
        try:
            self._skip(self._start.row)
            while not self._stopped:
                count, batches = self._next_run()
                if count == 0:
                    return
                blocks = self._run(count, batches)
                if blocks:
                    yield blocks
        finally:
            self._pass.close()

    def _open_pass(self) -> EpochReader:
        plan = self._plan
        order: RowOrder = FileOrder()
        if plan.shuffle and plan.shuffle_buffer > 1:
            order = BufferOrder(plan.seed, self._epoch, plan.shuffle_buffer)
        files = file_order(self._files, plan.seed, self._epoch, plan.shuffle)
        return EpochReader(self._format.blocks(files), order, self._format.compact)

    def _next_pass(self, epochs: int = 1) -> None:
        self._peak_rows = self.peak_rows
        self._pass.close()
        self._epoch += epochs
        self._pass = self._open_pass()

    def _learn_rows(self) -> int:
        """Records how many rows an epoch has, at the end of a pass."""
        rows = self._pass.arrived
        if self._epoch_rows not in (None, rows):
            raise DataError(
                f"the input had {self._epoch_rows} rows in one pass and {rows} in a later one: "
                "its files changed while they were read"
            )
        if rows == 0 and not self._plan.shard_files:
            names = [file.name for file in self._format.files]
            raise DataError(
                f"the input has no rows: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            )
        self._epoch_rows = rows
        return rows

    def _remaining(self) -> int | None:
        """Rows left in all epochs; None if unknown yet or endless."""
        if self._epoch_rows is None or (self._plan.epochs == 0 and self._epoch_rows > 0):
            return None
        return max(0, self._epoch_rows * (self._plan.epochs - self._epoch) - self._pass.left)

    def _skip(self, rows: int) -> None:
        while rows > 0 and (self._plan.epochs == 0 or self._epoch < self._plan.epochs):
            taken = len(self._pass.take(min(rows, _RUN_ALL_ROWS)))
            rows -= taken
            if not taken:
                each = self._learn_rows()
                if not each:
                    return
                self._next_pass(1 + rows // each)
                rows %= each
        self._turn_page()

    def _turn_page(self) -> None:
        """Advances to the next epoch if the current one has no rows left, so that positions are unique."""
        more = self._plan.epochs == 0 or self._epoch < self._plan.epochs
        if more and self._pass.finished and self._learn_rows():
            self._next_pass()

    def _next_run(self) -> tuple[int, int]:
        """Returns the rows of the next run and its number of full global batches (0: a partial one)."""
        if self._epoch_rows is None:
            if self._plan.epochs and self._epoch >= self._plan.epochs:
                return 0, 0
            self._pass.reach(self._pass.left + self._step)
            if self._pass.closed:
                self._learn_rows()
        remaining = self._remaining()
        known = self._pass.arrived - self._pass.left if self._epoch_rows is None else remaining
        batches = self._most if known is None else min(self._most, known // self._step)
        if batches:
            return batches * self._step, batches
        assert remaining is not None
        return (0, 0) if self._plan.drop_remainder else (remaining, 0)

    def _own_rows(self, count: int, batches: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Returns this rank's rows of a run, and its blocks as (rows, end within the run)."""
        plan, step = self._plan, self._step
        if plan.whole_batches:
            numbers = range(self._batch, self._batch + max(batches, 1))
            mine = [i for i, number in enumerate(numbers) if number % self._size == self._rank]
            self._batch += len(numbers)
            spans = [(i * step, min((i + 1) * step, count)) for i in mine]
        elif batches:
            first = self._rank * plan.batch_size
            spans = [(i * step + first, i * step + first + plan.batch_size) for i in range(batches)]
        else:
            spans = [even_share(count, self._rank, self._size)]
        ends = [min((start // step + 1) * step, count) for start, _ in spans] if batches else [count]
        own = np.concatenate([np.arange(a, b) for a, b in spans] or [np.empty(0, np.int64)])
        return own, [(b - a, end) for (a, b), end in zip(spans, ends, strict=False)]

    def _run(self, count: int, batches: int) -> list[RowBlock]:
        epoch, row = self._epoch, self._pass.left
        own, blocks = self._own_rows(count, batches)
        parts: list[RowRefs] = []
        done = 0
        while done < count and not self._stopped:
            rows = self._pass.take(count - done)
            if not len(rows):
                self._learn_rows()
                self._next_pass()
                continue
            low, high = np.searchsorted(own, [done, done + len(rows)])
            picked = own[low:high] - done
            numbers = picked + rows.start if isinstance(rows, range) else rows[picked]
            parts.append(self._pass.refs(numbers))
            done += len(rows)
        if self._stopped:
            return []
        self._turn_page()
        positions = self._positions(epoch, row)
        self._row_base += count
        if not blocks:
            return []
        return self._cut(self._format.gather(RowRefs.join(parts)), blocks, positions, epoch)

    def _positions(self, epoch: int, row: int) -> Callable[[int], tuple[InputPosition, int]]:
        """Returns a function that maps a row offset in the run to the position and epoch there."""
        each, base = self._epoch_rows, self._row_base

        def position(rows: int) -> tuple[InputPosition, int]:
            passed, within = divmod(row + rows, each) if each else (0, row + rows)
            if self._plan.shard_files:
                return InputPosition(self._start.epoch, self._start.row + base + rows), epoch + passed
            return InputPosition(epoch + passed, within), epoch + passed

        return position

    def _cut(
        self,
        gathered: Gathered,
        blocks: list[tuple[int, int]],
        positions: Callable[[int], tuple[InputPosition, int]],
        epoch: int,
    ) -> list[RowBlock]:
        """Cuts gathered rows into blocks, without the invalid ones."""
        bad = np.array([row.position for row in gathered.bad], np.int64)
        if len(bad) and not self._plan.ignore_error:
            raise DataError(gathered.bad[0].text)
        stops = np.fromiter(itertools.accumulate(rows for rows, _ in blocks), np.int64)
        bad_before = np.searchsorted(bad, stops)
        start, first = 0, 0
        cut = []
        for stop, last, (_, end) in zip(
            (stops - bad_before).tolist(), bad_before.tolist(), blocks, strict=True
        ):
            position, new_epoch = positions(end)
            self.rows += stop - start
            cut.append(
                RowBlock(
                    gathered.columns.slice(start, stop - start),
                    self._locator(gathered, start),
                    position,
                    epoch_end=new_epoch > epoch,
                    bad_rows=last - first,
                    first_bad=gathered.bad[first].text if last > first else None,
                )
            )
            start, first, epoch = stop, last, new_epoch
        return cut

    def _locator(self, gathered: Gathered, start: int) -> Callable[[int], str]:
        files, lines, names = gathered.files, gathered.lines, self._format.files
        numbered = self.numbered

        def locate(row: int) -> str:
            return f"{names[files[start + row]].name}, {numbered} {lines[start + row]}"

        return locate
