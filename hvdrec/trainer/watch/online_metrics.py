"""Metrics on the rows that are trained on, before each step updates the model (`eval_config.eval_online`)."""

from __future__ import annotations

import os
from typing import Any

from hvdrec.checkpoint import files
from hvdrec.metrics.base import EvalBatch
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import RunLog, logger
from hvdrec.trainer.step.feed import Feed, FeedCall
from hvdrec.trainer.watch.evaluator import Evaluator, HeadMetric, rows_of_metrics, write_result

FILE = "online_eval_result.txt"


class OnlineMetrics:
    """Evaluates every batch with the weights from before its step, in the mode of evaluation.

    A prequential ("test, then train") evaluation: Gama, Sebastião and Rodrigues (2013). A call has one step.

    Attributes:
        period: 1.
    """

    period = 1

    def __init__(
        self,
        job: Any,
        recommender: Recommender,
        feed: Feed,
        group: ReplicaGroup,
        log: RunLog,
        folder: str,
        summary_steps: int,
    ) -> None:
        """Starts with no rows; a run that continues starts again.

        Args:
            job: Makes the metrics.
            recommender: The model.
            feed: Unpacks batches.
            group: The ranks.
            log: Takes the metrics so far, as ``<name>/batch``.
            folder: Where the result is written at the end.
            summary_steps: The steps between two entries of the log; 0 = none.
        """
        self._job, self._recommender, self._feed = job, recommender, feed
        self._group, self._log, self._folder, self._summary_steps = group, log, folder, summary_steps
        self._evaluator = Evaluator(recommender, feed)
        self._metrics: list[HeadMetric] = job.metrics()
        #: What the call at this step adds if it trains: its batch may be left to the next run.
        self._began, self._waiting = 0, list[tuple[HeadMetric, EvalBatch]]()

    def before(self, step: int, call: FeedCall) -> None:
        """Evaluates the rows of a call of one step."""
        self._began, self._waiting = step, []
        predictions = self._evaluator.predict_call(call)
        rows = int(call.rows[0])
        if not rows:
            return
        arrays = {name: t.numpy() for name, t in self._feed.unpack(call, 0).items()}
        self._waiting.extend(rows_of_metrics(self._recommender, arrays, predictions, self._metrics))

    def after(self, step: int) -> None:
        """Adds the rows if the step was done; logs the metrics so far every `summary_steps` (collective)."""
        if step > self._began:
            for each, evaluated in self._waiting:
                each.metric.update(evaluated)
        self._waiting = []
        if self._summary_steps and step % self._summary_steps == 0:
            found = self._result()
            if self._group.rank == 0:
                self._log.scalars("", step, {f"{name}/batch": value for name, value in found.items()})

    def end(self, step: int) -> None:
        """Writes the result (collective).

        Raises:
            CheckpointError: The file can't be written.
        """
        found = self._result()
        run_on_all_ranks(self._group, lambda: self._write(step, found))

    def _write(self, step: int, found: dict[str, float]) -> None:
        if self._group.rank != 0:
            return
        self._log.scalars("", step, found)
        path = os.path.join(self._folder, f"{FILE}-{step}")
        with files.explained(f"can't write {path}"):
            write_result(path, found, None)
        shown = ", ".join(f"{name} {value:.4f}" for name, value in sorted(found.items()))
        logger.info("on the rows trained on: %s; written to %s", shown, path)

    def _result(self) -> dict[str, float]:
        """The metrics over the rows of all ranks."""
        states = self._group.gather_objects([each.metric.state() for each in self._metrics])
        found: dict[str, float] = {}
        for i, merged in enumerate(self._job.metrics()):
            merged.metric.merge([state[i] for state in states])
            found.update(merged.result())
        return found
