"""What a run shows and keeps: lines, a progress bar, TensorBoard scalars, JSON lines."""

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

#: Between two lines about the progress where there is no bar.
_TELL_SECONDS = 30.0


def json_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON can have them: null for a number that is none."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def set_up(rank: int, verbose: bool, warnings: Sequence[str] = ()) -> None:
    """Sends this process's log lines to standard error; ranks other than 0 only warn.

    Args:
        rank: This rank.
        verbose: Whether debugging lines are shown.
        warnings: What the config's check found, the same on all ranks; rank 0 tells.
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
    """Writes to what standard error is at the time: a progress bar puts lines above itself by that."""

    @property
    def stream(self) -> TextIO:
        """Standard error."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Not to be changed; the base class wants to."""


class RunLog:
    """The record of one rank's run.

    Rank 0 prints and writes TensorBoard events; every rank writes ``logs/rank-<r>.jsonl``.
    """

    def __init__(self, model_dir: str, rank: int, total_steps: int | None, name: str = "") -> None:
        """Opens the files.

        Args:
            model_dir: Where they go.
            rank: This rank.
            total_steps: Steps the run will have done at its end, None if the data decides.
            name: Of a process that doesn't train: of its lines' file, and no bar is shown.
        """
        folder = os.path.join(model_dir, "logs")
        os.makedirs(folder, exist_ok=True)
        self._lines = open(os.path.join(folder, f"{name or f'rank-{rank}'}.jsonl"), "a", encoding="utf-8")  # noqa: SIM115
        self._rank = rank
        self._total_steps = total_steps
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._model_dir = model_dir
        self._progress: Progress | None = None
        #: Without a bar: whether lines tell how far it is, since which step and time, and when the last did.
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
                # A line that is longer than the terminal stays one line when it is copied.
                console=Console(stderr=True, soft_wrap=True),
                transient=True,
            )
            self._task = self._progress.add_task("train", total=total_steps, rate="", loss="")
            self._progress.start()

    def record(self, kind: str, **values: Any) -> None:
        """Adds a JSON line."""
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
        """Moves the bar on a terminal; where there is none, a line every half minute tells how far it is.

        Args:
            step: Steps done.
            rate: Samples a second of all ranks, None if that isn't known yet.
            loss: Of the latest step.
            left: Gives the steps until the data ends, None if that isn't known.
        """
        if self._progress is None:
            if self._tells and self._begun is None:
                # The first call traces the graph: no time of steps to come.
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
        """Writes TensorBoard scalars below model_dir/`folder` (rank 0)."""
        if self._rank != 0:
            return
        with self.events(folder):
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)

    def text(self, name: str, text: str) -> None:
        """Writes a text for TensorBoard, shown as it is (rank 0)."""
        if self._rank != 0:
            return
        with self.events(""):
            tf.summary.text(name, "".join(f"    {line}\n" for line in text.splitlines()), step=0)

    @contextlib.contextmanager
    def events(self, folder: str) -> Iterator[None]:
        """What is written with `tf.summary` in here goes below model_dir/`folder`."""
        if folder not in self._writers:
            path = os.path.join(self._model_dir, folder) if folder else self._model_dir
            self._writers[folder] = tf.summary.create_file_writer(path)
        with self._writers[folder].as_default():
            yield
        self._writers[folder].flush()

    def evaluated(self, step: int, seconds: float, result: Mapping[str, float]) -> None:
        """An evaluation during training: a line, a JSON line and scalars in ``eval_val``."""
        text = ", ".join(f"{name} = {value:.6g}" for name, value in sorted(result.items()))
        logger.info("evaluated step %d (%.1f s): %s", step, seconds, text)
        self.record("eval", step=step, **result)
        self.evaluation("eval_val", step, result)

    def evaluation(self, folder: str, step: int, result: Mapping[str, float]) -> None:
        """Scalars of an evaluation.

        Losses have the tags of training too (``loss/x`` beside EasyRec's ``loss/loss/x``), so that
        TensorBoard draws both into one chart.
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
