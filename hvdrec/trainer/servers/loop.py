"""The training loop of the chief of a parameter-server run."""

from __future__ import annotations

import collections
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.data.loader import WaitInterruptedError
from hvdrec.errors import TrainingError
from hvdrec.parallel.parameter_server import NoWorkersError
from hvdrec.trainer.loop import Flag, Loop, LoopParts
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.servers.step import ServerStep
from hvdrec.trainer.step.diagnose import explain
from hvdrec.trainer.watch.deltas import Deltas


class _Begun(NamedTuple):
    """Steps that were started together, the input position before them, and the batches of each."""

    number: int
    position: InputPosition
    steps: Sequence[Sequence[PackedBatch]]
    handle: Any


class ServerLoop(Loop):
    """Sends batches to workers, several steps ahead of the results.

    `now` counts the started steps; all of them are completed before anything is saved or evaluated.
    """

    def __init__(self, parts: LoopParts, position: InputPosition, step: ServerStep) -> None:
        """Like `Loop`; `step` runs `parts.step` on workers."""
        super().__init__(parts, position)
        self._step = step
        self._begun: collections.deque[_Begun] = collections.deque()

    def _call(self, count: int) -> tuple[int, np.ndarray]:
        """Starts up to `count` steps; returns how many, and this process's flags."""
        flags = self._asked()
        if flags[Flag.HALT]:
            return 0, flags
        done = 0
        while done < count:
            wanted = min(self._step.steps, count - done)
            try:
                batches, error = self._take(wanted * self._step.batches)
            except WaitInterruptedError:
                return done, self._asked()
            if error is not None:
                self._drain()
                raise error
            # A worker has nothing to do for batches that `ignore_error` left empty.
            filled = [batch for batch in batches if batch.rows]
            try:
                done += self._begin(filled) if filled else 0
            except NoWorkersError:
                return done, self._abandon()
            if len(batches) < wanted * self._step.batches:
                break
        return done, flags

    def _begin(self, batches: Sequence[PackedBatch]) -> int:
        """Starts the steps of some batches, and returns how many."""
        while len(self._begun) >= self._step.ahead:
            self._end_first()
        parts, each = self.parts, self._step.batches
        watchers = [w for w in parts.watchers if self.now % w.period == 0]
        for watcher in watchers:
            watcher.before(self.now, parts.step.feed.stack(batches[:1]))
        steps = [batches[i : i + each] for i in range(0, len(batches), each)]
        self._begun.append(_Begun(self.now, self.position, steps, self._step.begin(batches, self.now)))
        self.now += len(steps)
        self.position = max((self.position, *(b.position for b in batches)), key=lambda p: (p.epoch, p.row))
        for watcher in watchers:
            watcher.after(self.now)
        return len(steps)

    def _end_first(self) -> None:
        number, _, steps, handle = self._begun[0]
        done, losses = self._step.result(handle)
        self._begun.popleft()
        if done:
            self._report_steps(number, losses[:done], sum(b.rows for step in steps[:done] for b in step))
        if done < len(steps):
            texts = [explain(self.parts.step, batch, 0) for batch in steps[done]]
            found = " | ".join(t.partition(": ")[2] for t in texts if t) or "a number is not finite"
            raise TrainingError(
                f"step {number + done}: {found}; this step updated nothing; the last "
                f"checkpoint is from step {self._saved_step}"
            )

    def _drain(self) -> None:
        """Waits for all started steps."""
        try:
            while self._begun:
                self._end_first()
        except NoWorkersError:
            self._abandon()

    def _abandon(self) -> np.ndarray:
        """Goes back to the first unfinished step, because no worker is left; returns the flags."""
        first = self._begun[0]
        logger.warning("no worker is left: the next run has to repeat the steps from %d", first.number)
        self.now, self.position = first.number, first.position
        self._begun.clear()
        return self._asked()

    def _asked(self) -> np.ndarray:
        """The flags; records a received signal, and raises the error of a failed save."""
        flags, error = self._flags()
        if error is not None:
            raise error
        self._signal = signal.SIGTERM if flags[Flag.SIGTERM] else signal.SIGINT * bool(flags[Flag.SIGINT])
        return flags

    def _save(self) -> None:
        """Like `Loop`, at a moment when no step is running."""
        self._drain()
        # A step of a lost worker may have been counted twice.
        self.parts.step.global_step.assign(self.now)
        super()._save()

    def _send_deltas(self, deltas: Deltas, dense: bool, sparse: bool) -> None:
        """Like `Loop`, at a moment when no step is running."""
        self._drain()
        super()._send_deltas(deltas, dense, sparse)

    def _evaluate(self) -> None:
        try:
            super()._evaluate()
        except NoWorkersError:
            self._asked()
