"""The training loop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hvdrec.checkpoint.names import Entry
from hvdrec.checkpoint.store import Store
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.errors import TrainingError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.agree import raise_together, together
from hvdrec.trainer.diagnose import explain
from hvdrec.trainer.log import RunLog, logger
from hvdrec.trainer.schedule import Schedule
from hvdrec.trainer.step import CallResult, TrainStep
from hvdrec.trainer.verify import verify_replicas


@dataclasses.dataclass
class LoopParts:
    """What the loop drives.

    Attributes:
        group: The ranks.
        step: The training step.
        batches: This rank's packed batches; ends when the data does.
        store: The checkpoints.
        entries: What a checkpoint holds.
        log: The record of the run.
        evaluate: Evaluates the current weights (collective) and gives the result.
        schedule: When things are due, in steps.
        save_seconds: `save_checkpoints_secs`, 0 = by steps.
        log_steps: `log_step_count_steps`.
        summary_steps: `save_summary_steps`.
        extra: Kept with every checkpoint.
    """

    group: ReplicaGroup
    step: TrainStep
    batches: Iterator[PackedBatch]
    store: Store
    entries: list[Entry]
    log: RunLog
    evaluate: Callable[[], dict[str, float]] | None
    schedule: Schedule
    save_seconds: float
    log_steps: int
    summary_steps: int
    extra: dict[str, Any]


class Loop:
    """Runs calls of several steps until the steps or the data end."""

    def __init__(self, parts: LoopParts, position: InputPosition) -> None:
        """Starts at the step and input position the variables were restored to."""
        self.parts = parts
        self.position = position
        self.now = int(parts.step.global_step.numpy())
        self.samples = 0
        self.result: dict[str, float] = {}
        self._saved_step = -1
        self._saved_time = time.monotonic()
        self._rate_time, self._rate_samples, self._rate = time.monotonic(), 0, 0.0

    def run(self) -> dict[str, float]:
        """Trains to the end.

        Returns:
            The last evaluation's result (empty without evaluation data).

        Raises:
            TrainingError: A loss or gradient wasn't finite, or replicas differ.
            DataError: A row can't be used (any rank's error stops every rank).
        """
        parts = self.parts
        self._save()
        while count := parts.schedule.next_call(self.now):
            done, save = self._call(count)
            if parts.schedule.due(parts.schedule.verify, self.now) and done:
                verify_replicas(parts.group, parts.entries, self.now)
            if (parts.schedule.due(parts.schedule.save, self.now) and done) or save:
                self._save()
                self._evaluate()
            if done < count:
                break
        if self._saved_step != self.now:
            self._save()
            self._evaluate()
        elif not self.result:
            self._evaluate()
        return self.result

    def _call(self, count: int) -> tuple[int, bool]:
        """Runs up to `count` steps; gives the steps done and whether a checkpoint is due by time."""
        parts = self.parts
        batches, error = self._take(count)
        elapsed = time.monotonic() - self._saved_time
        due = parts.group.rank == 0 and 0 < parts.save_seconds <= elapsed
        flags = np.asarray([error is not None, due], np.float32)
        result = parts.step.run(parts.step.feed.stack(batches), flags)
        summed = result.flags.numpy()
        if summed[0] > 0:
            raise_together(parts.group, error)
        done = int(result.steps)
        if done:
            self.position = max((b.position for b in batches[:done]), key=lambda p: (p.epoch, p.row))
            self._report(result, done)
        if not bool(result.finite):
            self._fail(batches[done])
        return done, bool(summed[1] > 0)

    def _take(self, count: int) -> tuple[list[PackedBatch], Exception | None]:
        """The next batches; empty ones once this rank has run out or its input failed."""
        batches: list[PackedBatch] = []
        error: Exception | None = None
        try:
            while len(batches) < count:
                batch = next(self.parts.batches, None)
                if batch is None:
                    break
                batches.append(batch)
        except Exception as failure:
            error = failure
        empty = self.parts.step.feed.empty()
        return batches + [empty] * (count - len(batches)), error

    def _fail(self, batch: PackedBatch) -> None:
        group = self.parts.group
        text = together(group, lambda: explain(self.parts.step, batch, group.rank))
        texts = [t for t in group.gather_objects(text) if t is not None]
        raise TrainingError(
            f"step {self.now}: {' | '.join(texts) or 'the summed gradient is not finite'}; nothing was "
            f"updated by this step; the last checkpoint is that of step {self._saved_step}"
        )

    def _report(self, result: CallResult, done: int) -> None:
        parts = self.parts
        names = parts.step.loss_names
        report = result.report.numpy()
        rows = int(result.totals.numpy()[:done].sum())
        self.samples += rows
        self._update_rate()
        for i in range(done):
            step = self.now + i
            if parts.log_steps and step % parts.log_steps == 0:
                losses = dict(zip(names, map(float, report[i]), strict=True))
                parts.log.step_line(step, self._rate, self._learning_rate(step), losses)
            if parts.summary_steps and step % parts.summary_steps == 0 and parts.group.rank == 0:
                values = {f"loss/{n}": float(v) for n, v in zip(names, report[i], strict=True)}
                values["learning_rate"] = self._learning_rate(step)
                values["samples_per_second"] = self._rate
                parts.log.scalars("", step, values)
        self.now += done
        parts.log.progress(self.now, self._rate, float(report[done - 1][-1]))

    def _update_rate(self) -> None:
        """Samples a second over about the last second, as one call is too short to judge by."""
        seconds = time.monotonic() - self._rate_time
        if seconds >= 1.0 or self._rate == 0.0:
            self._rate = (self.samples - self._rate_samples) / max(seconds, 1e-9)
        if seconds >= 1.0:
            self._rate_time, self._rate_samples = time.monotonic(), self.samples

    def _learning_rate(self, step: int) -> float:
        return float(self.parts.step.optimizer.learning_rate(np.int64(step)))

    def _save(self) -> None:
        """Rank 0 saves; if it can't, every rank stops."""
        parts = self.parts
        start = time.monotonic()

        def save() -> str | None:
            if parts.group.rank != 0:
                return None
            extra = {**parts.extra, "epoch": self.position.epoch, "row": self.position.row}
            return parts.store.save(self.now, parts.entries, extra)

        prefix = together(parts.group, save)
        if prefix:
            seconds = time.monotonic() - start
            logger.info("saved %s (%.2f s)", prefix, seconds)
            parts.log.record("save", step=self.now, prefix=prefix, seconds=round(seconds, 3))
        self._saved_step, self._saved_time = self.now, time.monotonic()

    def _evaluate(self) -> None:
        parts = self.parts
        if parts.evaluate is None:
            return
        start = time.monotonic()
        self.result = parts.evaluate()
        seconds = time.monotonic() - start
        text = ", ".join(f"{name} = {value:.6g}" for name, value in sorted(self.result.items()))
        logger.info("evaluated step %d (%.1f s): %s", self.now, seconds, text)
        parts.log.record("eval", step=self.now, **self.result)
        parts.log.scalars("eval_val", self.now, self.result)
        # Time spent here isn't training time.
        self._rate_time += time.monotonic() - start
