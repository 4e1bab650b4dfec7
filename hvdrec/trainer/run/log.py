"""The output of a run: log lines, a progress bar, TensorBoard scalars, JSON lines."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger("hvdrec")

#: Seconds between progress lines if there is no bar.
_TELL_SECONDS = 30.0


def json_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values converted for JSON: null for NaN and infinity."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def set_up(rank: int, verbose: bool, warnings: Sequence[str] = ()) -> None:
    """Sends this process's log lines to standard error; ranks other than 0 show only warnings.

    Args:
        rank: This rank.
        verbose: Whether to show debug lines.
        warnings: The warnings of the config's check, the same on all ranks; rank 0 prints them.
    """
    handler = _StandardError()
    prefix = "" if rank == 0 else f"[rank {rank}] "
    handler.setFormatter(logging.Formatter(f"%(asctime)s {prefix}%(message)s", "%H:%M:%S"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if verbose else logging.INFO if rank == 0 else logging.WARNING)
    for warning in warnings if rank == 0 else ():
        logger.warning("warning: %s", warning)


def _per_second(rate: float | None, before: str = "") -> str:
    return "" if rate is None else f"{before}{rate:,.0f} samples/s"


class _StandardError(logging.StreamHandler):
    """Looks up standard error at each write, because a progress bar replaces it while it is shown."""

    @property
    def stream(self) -> TextIO:
        """Standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignores assignments, which the base class makes."""


class RunLog:
    """The record of one rank's run.

    Rank 0 prints and writes TensorBoard events; every rank writes ``logs/rank-<r>.jsonl``.
    """

    def __init__(self, model_dir: str, rank: int, total_steps: int | None, name: str = "") -> None:
        """Opens the output files.

        Args:
            model_dir: The folder for the files.
            rank: This rank.
            total_steps: The step at which the run ends, None if the data decides.
            name: The name of a process that doesn't train: it names its file, and disables the bar.
        """
        folder = os.path.join(model_dir, "logs")
        os.makedirs(folder, exist_ok=True)
        self._lines = open(os.path.join(folder, f"{name or f'rank-{rank}'}.jsonl"), "a", encoding="utf-8")  # noqa: SIM115
        self._rank = rank
        self._total_steps = total_steps
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._model_dir = model_dir
        self._progress: Progress | None = None
        #: Without a bar: whether progress lines are printed, from which step and time, and when the last was.
        self._tells = rank == 0 and not name
        self._begun: tuple[int, float] | None = None
        self._told = 0.0
        if rank == 0 and not name and sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[loss]}"),
                # A line longer than the terminal is still copied as one line.
                console=Console(stderr=True, soft_wrap=True),
                transient=True,
            )
            self._task = self._progress.add_task("train", total=total_steps, rate="", loss="")
            self._progress.start()

    def record(self, kind: str, **values: Any) -> None:
        """Appends a JSON line."""
        line = {"time": round(time.time(), 3), "kind": kind, **json_numbers(values)}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()

    def step_line(
        self, step: int, rate: float | None, learning_rate: float, losses: Mapping[str, float]
    ) -> None:
        """The line of `log_step_count_steps` (EasyRec's wording, with the rate of all ranks)."""
        known = {} if rate is None else {"rate": round(rate, 1)}
        self.record("step", step=step, **known, lr=learning_rate, **losses)
        text = ", ".join(f"{name} = {value:.6g}" for name, value in losses.items())
        logger.info("global step %d: lr = %.6g, %s%s", step, learning_rate, text, _per_second(rate, ", "))

    def progress(self, step: int, rate: float | None, loss: float, left: Callable[[], int | None]) -> None:
        """Moves the bar on a terminal; without a terminal, prints a progress line every half minute.

        Args:
            step: Steps done.
            rate: Samples per second over all ranks, None if not yet known.
            loss: The loss of the latest step.
            left: Returns the steps until the data ends, None if unknown.
        """
        if self._progress is None:
            if self._tells and self._begun is None:
                # The first call traces the graph, so its time predicts nothing.
                self._begun = (step, time.monotonic())
            elif (
                self._begun is not None
                and time.monotonic() - max(self._told, self._begun[1]) >= _TELL_SECONDS
            ):
                self._tell(step, rate, loss, self._total(step, left))
            return
        self._progress.update(
            self._task,
            completed=step,
            total=self._total(step, left),
            rate=_per_second(rate),
            loss=f"loss {loss:.4f}",
        )

    def _total(self, step: int, left: Callable[[], int | None]) -> int | None:
        more = left()
        ends = [self._total_steps, None if more is None else step + more]
        return min((end for end in ends if end is not None), default=None)

    def _tell(self, step: int, rate: float | None, loss: float, total: int | None) -> None:
        assert self._begun is not None
        self._told = time.monotonic()
        first, begun = self._begun
        of = ""
        if total is not None:
            seconds = (total - step) * (self._told - begun) / max(1, step - first)
            of = f" of {total}, {datetime.timedelta(seconds=round(seconds))} left"
        logger.info("step %d%s: loss %.4f%s", step, of, loss, _per_second(rate, ", "))

    def scalars(self, folder: str, step: int, values: Mapping[str, float]) -> None:
        """Writes TensorBoard scalars to model_dir/`folder` (rank 0)."""
        if self._rank != 0:
            return
        with self.events(folder):
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)

    def text(self, name: str, text: str) -> None:
        """Writes a text to TensorBoard, shown verbatim (rank 0)."""
        if self._rank != 0:
            return
        with self.events(""):
            tf.summary.text(name, "".join(f"    {line}\n" for line in text.splitlines()), step=0)

    @contextlib.contextmanager
    def events(self, folder: str) -> Iterator[None]:
        """Writes `tf.summary` data to model_dir/`folder` inside the block."""
        if folder not in self._writers:
            path = os.path.join(self._model_dir, folder) if folder else self._model_dir
            self._writers[folder] = tf.summary.create_file_writer(path)
        with self._writers[folder].as_default():
            yield
        self._writers[folder].flush()

    def evaluated(self, step: int, seconds: float, result: Mapping[str, float]) -> None:
        """Logs an evaluation during training: a line, a JSON line and scalars in ``eval_val``."""
        text = ", ".join(f"{name} = {value:.6g}" for name, value in sorted(result.items()))
        logger.info("evaluated step %d (%.1f s): %s", step, seconds, text)
        self.record("eval", step=step, **result)
        self.evaluation("eval_val", step, result)

    def evaluation(self, folder: str, step: int, result: Mapping[str, float]) -> None:
        """The scalars of an evaluation.

        Losses also have the tags of training (``loss/x`` in addition to EasyRec's ``loss/loss/x``), so that
        TensorBoard draws both in one chart.
        """
        losses = {
            name.removeprefix("loss/"): v for name, v in result.items() if name.startswith("loss/loss/")
        }
        self.scalars(folder, step, {**result, **losses})

    def close(self) -> None:
        """Ends the bar and closes the files."""
        if self._progress is not None:
            self._progress.stop()
        for writer in self._writers.values():
            writer.close()
        self._lines.close()
