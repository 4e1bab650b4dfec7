"""`--eval_method separate`: the process that evaluates each new checkpoint while the others train."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.config import Config
from hvdrec.errors import CheckpointError, StoppedError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.input import try_eval_input
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.done_mark import is_done
from hvdrec.trainer.run.log import RunLog, logger
from hvdrec.trainer.run.run_folder import RunFolder, open_run_folder
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.step.state import model_entries
from hvdrec.trainer.watch.evaluator import Evaluator, write_result
from hvdrec.trainer.watch.history import MetricFile

_POLL_SECONDS = 0.5


def follow(
    config: Config,
    group: ReplicaGroup,
    signals: StopSignals,
    since: int,
    metric_file: str | None = None,
    alone: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Evaluates checkpoints as they appear, until training has ended and the last one is evaluated.

    Args:
        config: The config of the run that the other processes train.
        group: The group of this process only.
        signals: The signals that were received.
        since: `time_of` the model_dir before any process of this run began to train.
        metric_file: `--hpo_metric_save_path`.
        alone: Returns whether training has ended for any reason.

    Returns:
        The result of the last checkpoint.

    Raises:
        StoppedError: A signal was received.
        CheckpointError: A checkpoint that still exists can't be read.
    """
    with open_run_folder(config, group) as folder:
        folder.pull()
        return _follow(config, folder, group, signals, since, metric_file, alone)


def _follow(
    config: Config,
    folder: RunFolder,
    group: ReplicaGroup,
    signals: StopSignals,
    since: int,
    metric_file: str | None,
    alone: Callable[[], bool],
) -> dict[str, float]:
    job = Job(config, group, folder)
    job.prepare_exports()
    try_eval_input(job.proto, job.plan)
    pictures = job.pictures()
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    entries = [*model_entries(job.recommender), SavedTensor("global_step", step, None)]
    metrics = MetricFile(metric_file, folder.path) if metric_file else None
    evaluator = Evaluator(job.recommender, job.feed)
    log = RunLog(folder.path, group.rank, None, name="evaluator")
    pause = _POLL_SECONDS * (10 if folder.is_copy else 1)
    result: dict[str, float] = {}
    seen = -1
    try:
        while True:
            # Check this before listing checkpoints: whatever was written before the end mark is then found.
            done = is_done(config.proto.model_dir, since) or alone()
            new = [s for s in job.store.steps() if s > seen]
            if not new and done:
                return result
            if signals.received:
                raise StoppedError(
                    "stopped; evaluate the run's checkpoints with hvdrec.eval", signals.received
                )
            if not new:
                time.sleep(pause)
                continue
            seen = new[0]
            try:
                job.store.restore(job.store.prefix(seen), entries)
            except CheckpointError:
                if job.store.has(seen):
                    raise
                continue  # Removed by rotation: training is faster than evaluation.
            start = time.monotonic()
            result = job.evaluate(evaluator, pictures=pictures)
            log.evaluated(seen, time.monotonic() - start, result)
            pictures.write(log, "eval_val", seen, result)
            if metrics is not None:
                metrics.add(seen, result)
            write_result(os.path.join(folder.path, "eval_result.txt"), result, seen)
            folder.push("eval")
            # EasyRec doesn't export the initial values either.
            if job.exports is not None and seen > 0:
                _export(job, seen, result)
    finally:
        log.close()


def _export(job: Job, step: int, result: dict[str, float]) -> None:
    try:
        if job.exports is not None:
            job.exports.after_evaluation(step, result)
    except CheckpointError:
        if job.store.has(step):
            raise
        logger.warning("step %d was the best so far, but its checkpoint has already been removed", step)
