"""The training loop."""

from __future__ import annotations

import dataclasses
import enum
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from hvdrec.checkpoint.background import BackgroundSaver, Saved
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.data.loader import WaitInterruptedError
from hvdrec.errors import ConfigError, StoppedError, TrainingError
from hvdrec.parallel import keeper
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import raise_together, run_on_all_ranks
from hvdrec.trainer.run.log import RunLog, logger
from hvdrec.trainer.run.parts import save_parts
from hvdrec.trainer.run.schedule import Schedule
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.stop_conditions import Ending
from hvdrec.trainer.run.throttle import EvalThrottle
from hvdrec.trainer.step.diagnose import explain
from hvdrec.trainer.step.feed import FeedCall
from hvdrec.trainer.step.step import CallResult, TrainStep
from hvdrec.trainer.step.verify import verify_replicas
from hvdrec.trainer.watch.deltas import Deltas

#: Seconds over which a rate is averaged: for the bar, and for a line of `log_step_count_steps`, which shows
#: the rate since the previous line unless that is too recent.
_SHORTEST, _SHORTEST_LINES = 1.0, 0.1


class Watcher(Protocol):
    """Observes the call of steps that begins when it is due.

    Attributes:
        period: The number of steps between observations.
    """

    period: int

    def before(self, step: int, call: FeedCall) -> None:
        """Called on every rank before the observed call."""

    def after(self, step: int) -> None:
        """Called after that call, with the number of steps done."""


#: Called on every rank after an evaluation with the step and its result; returns why to end training, or
#: None.
AfterEvaluation = Callable[[int, dict[str, float]], "str | None"]


@dataclasses.dataclass
class LoopParts:
    """The parts of the training loop.

    Attributes:
        group: The ranks.
        step: The training step.
        batches: This rank's packed batches; ends when the data does.
        saver: Saves checkpoints (rank 0).
        entries: The entries of a checkpoint.
        log: The record of the run.
        evaluate: Evaluates the current weights (collective) and returns the result.
        schedule: When actions are due, in steps.
        save_seconds: `save_checkpoints_secs`; 0 = by steps.
        log_steps: `log_step_count_steps`.
        summary_steps: `save_summary_steps`.
        extra: Returns what is saved with a checkpoint, given the input position of each rank (or one position
            for all ranks if `own_positions` is False).
        own_positions: Whether each rank has its own input position (`file_shard`).
        signals: The signals that were received.
        endings: Other conditions that end training early.
        after_evaluation: Hooks called after every evaluation.
        watchers: Observers of single calls.
        steps_left: Returns the steps until the data ends, given the input position; None if unknown.
        throttle: Limits evaluations; None if every checkpoint is evaluated.
        exhausted: Whether no rank has a batch.
        left_out: Why an epoch has no rows, if `ignore_error` skipped all of them.
        at_end: Called on every rank with the step when training ends or is stopped.
        deltas: Sends changes between checkpoints (`incr_save_config`); None: it doesn't.
    """

    group: ReplicaGroup
    step: TrainStep
    batches: Iterator[PackedBatch]
    saver: BackgroundSaver
    entries: list[SavedTensor]
    log: RunLog
    evaluate: Callable[[], dict[str, float]] | None
    schedule: Schedule
    save_seconds: float
    log_steps: int
    summary_steps: int
    extra: Callable[[Sequence[InputPosition]], dict[str, Any]]
    own_positions: bool = False
    signals: StopSignals = dataclasses.field(default_factory=StopSignals)
    endings: Sequence[Ending] = ()
    after_evaluation: Sequence[AfterEvaluation] = ()
    watchers: Sequence[Watcher] = ()
    steps_left: Callable[[InputPosition], int | None] = lambda position: None
    throttle: EvalThrottle | None = None
    exhausted: bool = False
    left_out: str | None = None
    deltas: Deltas | None = None
    at_end: Sequence[Callable[[int], None]] = ()


class Flag(enum.IntEnum):
    """Flags that ranks exchange before the steps of a call; HALT prevents all steps of the call."""

    HALT = 0
    FAILED = 1
    SAVE = 2
    END = 3
    SIGTERM = 4
    SIGINT = 5
    DENSE_DELTA = 6
    SPARSE_DELTA = 7


class Loop:
    """Runs calls of several steps until the steps or the data end, or a stop is requested."""

    def __init__(self, parts: LoopParts, position: InputPosition) -> None:
        """Starts at the step and input position that the variables were restored to."""
        self.parts = parts
        self.position = position
        self.now = int(parts.step.global_step.numpy())
        self.samples = 0
        self.result: dict[str, float] = {}
        self._signal = 0
        self._end: str | None = None
        self._saved_step = -1
        self._saved_time = time.monotonic()
        self._rate_time, self._rate_samples = time.monotonic(), 0
        #: Samples per second; None until calls after the first, which traces the graph, have been measured.
        self._rate: float | None = None
        self._reported = False

    def run(self) -> dict[str, float]:
        """Trains to the end.

        Returns:
            The last evaluation's result (empty without evaluation data).

        Raises:
            StoppedError: A signal asked to stop; the state is saved.
            TrainingError: A loss or gradient is not finite, or replicas differ.
            DataError: A row can't be used (any rank's error stops every rank).
        """
        parts = self.parts
        if parts.deltas:
            parts.deltas.begin(self.now)
        self._save()
        if parts.deltas:
            # Without a checkpoint, a run that is killed couldn't say that the messages are its own.
            run_on_all_ranks(parts.group, parts.saver.settle)
        while count := parts.schedule.next_call(self.now):
            done, flags = self._call(count)
            if flags[Flag.HALT]:
                break
            if parts.schedule.due(parts.schedule.verify, self.now) and done:
                hidden = parts.step.optimizer.unsaved.items()
                unsaved = [SavedTensor(name, variable, None) for name, variable in hidden]
                verify_replicas(parts.group, [*parts.entries, *unsaved], self.now)
            self._send_due_deltas(bool(done), flags)
            if (parts.schedule.due(parts.schedule.save, self.now) and done) or flags[Flag.SAVE]:
                self._save()
                self._evaluate_if_due()
            if done < count:
                break
        if self._saved_step != self.now:
            self._save()
            self.result = {}
        for hook in parts.at_end:
            hook(self.now)
        if self._signal:
            self._stop()
        if not self.result:
            self._evaluate()
            if self._signal:
                self._stop()
        run_on_all_ranks(parts.group, lambda: self._report_saves(parts.saver.wait()))
        if parts.deltas:
            parts.deltas.end(self.now)
        return self.result

    def _call(self, count: int) -> tuple[int, np.ndarray]:
        """Runs up to `count` steps; returns the steps done and the summed flags of all ranks."""
        parts = self.parts
        flags, error = self._flags()
        batches: list[PackedBatch] = []
        if not flags[Flag.HALT]:
            try:
                batches, error = self._take(count)
                flags[Flag.HALT] = flags[Flag.FAILED] = error is not None
            except WaitInterruptedError:
                # Something asked to stop while there were no rows; batches taken are left to the next run.
                flags, error = self._flags()
        try:
            batches = parts.step.feed.admit(parts.group, batches, self.now, bool(flags[Flag.HALT]))
        except ConfigError as failure:
            error = failure
            flags[Flag.HALT] = flags[Flag.FAILED] = True
        call = parts.step.feed.stack(batches, count)
        watchers = [w for w in parts.watchers if self.now % w.period == 0]
        for watcher in watchers:
            watcher.before(self.now, call)
        result = parts.step.run(call, flags)
        done, summed = int(result.steps), result.flags.numpy()
        for watcher in watchers:
            watcher.after(self.now + done)
        if summed[Flag.FAILED]:
            raise_together(parts.group, error)
        self._signal = signal.SIGTERM if summed[Flag.SIGTERM] else signal.SIGINT * bool(summed[Flag.SIGINT])
        if self._signal:
            parts.signals.heed()
        if done:
            positions = [self.position, *(b.position for b in batches[:done])]
            self.position = max(positions, key=lambda p: (p.epoch, p.row))
            self._report(result, done)
        if not bool(result.finite):
            self._fail(batches[done] if done < len(batches) else parts.step.feed.empty())
        return done, summed

    def _flags(self) -> tuple[np.ndarray, Exception | None]:
        """This rank's flags; raises the error of a failed save."""
        parts = self.parts
        flags = np.zeros(len(Flag), np.float32)
        error: Exception | None = None
        if parts.group.rank == 0:
            try:
                self._report_saves(parts.saver.poll())
            except Exception as failure:
                error = failure
            elapsed = time.monotonic() - self._saved_time
            flags[Flag.SAVE] = 0 < parts.save_seconds <= elapsed
            if parts.deltas:
                flags[[Flag.DENSE_DELTA, Flag.SPARSE_DELTA]] = parts.deltas.asked()
            self._end = self._end or next((why for e in parts.endings if (why := e())), None)
            if self._end:
                logger.warning("ending at step %d: %s", self.now, self._end)
        received = parts.signals.received
        flags[Flag.FAILED] = error is not None
        flags[Flag.END] = self._end is not None
        flags[Flag.SIGTERM] = received == signal.SIGTERM
        flags[Flag.SIGINT] = received == signal.SIGINT
        flags[Flag.HALT] = error is not None or self._end is not None or received != 0
        return flags, error

    def _take(self, count: int) -> tuple[list[PackedBatch], Exception | None]:
        """The next batches; fewer if this rank has run out or its input failed."""
        batches: list[PackedBatch] = []
        error: Exception | None = None
        try:
            while len(batches) < count:
                batch = next(self.parts.batches, None)
                if batch is None:
                    break
                batches.append(batch)
        except WaitInterruptedError:
            raise
        except Exception as failure:
            error = failure
        return batches, error

    def _fail(self, batch: PackedBatch) -> None:
        group = self.parts.group
        text = run_on_all_ranks(group, lambda: explain(self.parts.step, batch, group.rank))
        texts = [t for t in group.gather_objects(text) if t is not None]
        raise TrainingError(
            f"step {self.now}: {' | '.join(texts) or 'the summed gradient is not finite'}; this step "
            f"updated nothing; the last checkpoint is from step {self._saved_step}"
        )

    def _stop(self) -> None:
        """Ends the run after a signal, when everything is on disk."""
        parts = self.parts
        run_on_all_ranks(parts.group, lambda: self._report_saves(parts.saver.wait()))
        raise StoppedError(
            f"stopped by {signal.Signals(self._signal).name} at step {self.now}, which is "
            "saved; give --continue_train to continue from there",
            self._signal,
        )

    def _report(self, result: CallResult, done: int) -> None:
        rows = int(result.totals.numpy()[:done].sum())
        first, self.now = self.now, self.now + done
        self._report_steps(first, result.report.numpy()[:done], rows)

    def _report_steps(self, first: int, report: np.ndarray, rows: int) -> None:
        """Logs completed steps.

        Args:
            first: The first of them.
            report: float32 [steps, names], the losses.
            rows: The number of rows in all of them.
        """
        parts = self.parts
        names = parts.step.loss_names
        self.samples += rows
        lines = parts.log_steps and any((first + i) % parts.log_steps == 0 for i in range(len(report)))
        self._update_rate(_SHORTEST_LINES if lines else _SHORTEST)
        for i in range(len(report)):
            step = first + i
            if parts.log_steps and step % parts.log_steps == 0:
                losses = dict(zip(names, map(float, report[i]), strict=True))
                parts.log.step_line(step, self._rate, self._learning_rate(step), losses)
            if parts.summary_steps and step % parts.summary_steps == 0 and parts.group.rank == 0:
                values = {f"loss/{n}": float(v) for n, v in zip(names, report[i], strict=True)}
                values["learning_rate"] = self._learning_rate(step)
                rates = parts.step.optimizer.learning_rates(np.int64(step))
                if len(rates) > 1:
                    values.update({f"learning_rate_{i}": float(rate) for i, rate in enumerate(rates)})
                if self._rate is not None:
                    values["samples_per_second"] = self._rate
                parts.log.scalars("", step, values)
        parts.log.progress(first + len(report), self._rate, float(report[-1][-1]), self._steps_left)

    def _steps_left(self) -> int | None:
        return self.parts.steps_left(self.position)

    def _update_rate(self, shortest: float) -> None:
        """Samples per second since the last measurement, at least `shortest` seconds ago."""
        seconds = time.monotonic() - self._rate_time
        if self._reported and seconds >= shortest:
            self._rate = (self.samples - self._rate_samples) / seconds
        if not self._reported or seconds >= shortest:
            self._rate_time, self._rate_samples = time.monotonic(), self.samples
        self._reported = True

    def _learning_rate(self, step: int) -> float:
        return float(self.parts.step.optimizer.learning_rate(np.int64(step)))

    def _save(self) -> None:
        """Starts a save on rank 0; if it fails, every rank stops at its next call."""
        parts = self.parts
        parts.step.optimizer.settle()
        parts.step.feed.evict()
        if parts.deltas:
            parts.deltas.full_save(self.now)
        keeper.tell(keeper.STEP, self.now)
        positions = parts.group.gather_objects(self.position) if parts.own_positions else [self.position]

        staged = save_parts(parts.group, parts.saver, self.now, parts.entries)

        def save() -> None:
            if parts.group.rank == 0:
                kept = parts.deltas.kept() if parts.deltas else {}
                parts.saver.start(self.now, parts.entries, {**parts.extra(positions), **kept}, staged)

        run_on_all_ranks(parts.group, save)
        self._saved_step, self._saved_time = self.now, time.monotonic()

    def _send_due_deltas(self, done: bool, flags: np.ndarray) -> None:
        deltas = self.parts.deltas
        if deltas is None:
            return
        dense, sparse = deltas.due(self.now) if done else (False, False)
        dense, sparse = dense or bool(flags[Flag.DENSE_DELTA]), sparse or bool(flags[Flag.SPARSE_DELTA])
        if dense or sparse:
            self._send_deltas(deltas, dense, sparse)

    def _send_deltas(self, deltas: Deltas, dense: bool, sparse: bool) -> None:
        self.parts.step.optimizer.settle()
        deltas.emit(self.now, dense, sparse)

    def _report_saves(self, finished: Sequence[Saved]) -> None:
        for saved in finished:
            logger.info(
                "saved %s (training held for %.3f s, written in %.2f s)",
                *(saved.prefix, saved.held, saved.written),
            )
            times = {"held": round(saved.held, 4), "seconds": round(saved.written, 3)}
            self.parts.log.record("save", step=saved.step, prefix=saved.prefix, **times)

    def _evaluate_if_due(self) -> None:
        throttle = self.parts.throttle
        if throttle is None or self.parts.group.gather_objects(throttle.passes())[0]:
            self._evaluate()
        else:
            self.result = {}

    def _evaluate(self) -> None:
        parts = self.parts
        if parts.evaluate is None:
            return
        start = time.monotonic()
        result = parts.evaluate()
        received = parts.group.gather_objects(parts.signals.received)
        if any(received):
            # Stopped early on some rank, so it doesn't cover all rows.
            self._signal = signal.SIGTERM if signal.SIGTERM in received else signal.SIGINT
            parts.signals.heed()
            return
        self.result = result
        parts.log.evaluated(self.now, time.monotonic() - start, self.result)
        # Call every hook on every rank: a hook may be collective.
        reasons = [hook(self.now, self.result) for hook in parts.after_evaluation]
        self._end = self._end or next((why for why in reasons if why), None)
        # Don't count the time spent here as training time.
        self._rate_time += time.monotonic() - start
