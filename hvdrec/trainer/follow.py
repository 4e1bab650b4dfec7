"""`--eval_method separate`: the process that evaluates each new checkpoint while the others train."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable

import tensorflow as tf

from hvdrec.checkpoint.names import Entry
from hvdrec.config import Config
from hvdrec.errors import CheckpointError, ConfigError, StoppedError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.evaluate import Evaluator, write_result
from hvdrec.trainer.evaluations import MetricFile
from hvdrec.trainer.exporters import RunExports
from hvdrec.trainer.job import Job, has_eval_input
from hvdrec.trainer.log import RunLog, logger
from hvdrec.trainer.signals import StopSignals
from hvdrec.trainer.state import model_entries

#: EasyRec's name for the file that says that no checkpoint comes any more.
_DONE = "ESTIMATOR_TRAIN_DONE"
_POLL_SECONDS = 0.5


def time_of(model_dir: str) -> int:
    """The time now in nanoseconds by the clock of the folder's file system."""
    os.makedirs(model_dir, exist_ok=True)
    with tempfile.TemporaryFile(dir=model_dir) as file:
        file.write(b"now")
        file.flush()
        return os.stat(file.fileno()).st_mtime_ns


def mark_done(model_dir: str) -> None:
    """Tells the evaluating process that the last checkpoint is written."""
    with open(os.path.join(model_dir, _DONE), "w", encoding="utf-8") as file:
        file.write("Train Done.\n")


def clear_done(model_dir: str) -> None:
    """Takes an earlier run's mark away."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(model_dir, _DONE))


def _is_done(model_dir: str, since: int) -> bool:
    """Whether the mark is there and isn't an earlier run's."""
    try:
        return os.stat(os.path.join(model_dir, _DONE)).st_mtime_ns >= since
    except FileNotFoundError:
        return False


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
        config: Of the run that the other processes train.
        group: This process alone.
        signals: Which signal has asked to stop.
        since: `time_of` the model_dir before any process of this run began to train.
        metric_file: `--hpo_metric_save_path`.
        alone: Whether training has ended for whatever reason.

    Returns:
        The last checkpoint's result.

    Raises:
        StoppedError: A signal came.
        ConfigError: There is nothing to evaluate on.
        CheckpointError: A checkpoint that is still there can't be read.
    """
    if not has_eval_input(config.proto):
        raise ConfigError("--eval_method separate: the config has no eval_input_path to evaluate on")
    model_dir = config.proto.model_dir
    job = Job(config, group)
    job.prepare_exports()
    pictures = job.pictures()
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    entries = [*model_entries(job.recommender), Entry("global_step", step, None)]
    metrics = MetricFile(metric_file, model_dir) if metric_file else None
    evaluator = Evaluator(job.recommender, job.feed)
    log = RunLog(model_dir, group.rank, None, name="evaluator")
    result: dict[str, float] = {}
    seen = -1
    try:
        while True:
            # Looked at before the checkpoints: what is written before the mark is seen after it.
            done = _is_done(model_dir, since) or alone()
            new = [s for s in job.store.steps() if s > seen]
            if not new and done:
                return result
            if signals.received:
                raise StoppedError("stopped; the run's checkpoints are for hvdrec.eval", signals.received)
            if not new:
                time.sleep(_POLL_SECONDS)
                continue
            seen = new[0]
            prefix = os.path.join(model_dir, f"model.ckpt-{seen}")
            try:
                job.store.restore(prefix, entries)
            except CheckpointError:
                if os.path.exists(f"{prefix}.index"):
                    raise
                continue  # Rotated away: training is faster than evaluation.
            start = time.monotonic()
            result = job.evaluate(evaluator, pictures=pictures)
            log.evaluated(seen, time.monotonic() - start, result)
            pictures.write(log, "eval_val", seen)
            if metrics is not None:
                metrics.add(seen, result)
            write_result(os.path.join(model_dir, "eval_result.txt"), result, seen)
            # EasyRec doesn't export the first values either.
            if job.exports is not None and seen > 0:
                _export(job.exports, seen, result, prefix)
    finally:
        log.close()


def _export(exports: RunExports, step: int, result: dict[str, float], prefix: str) -> None:
    try:
        exports.after_evaluation(step, result)
    except CheckpointError:
        if os.path.exists(f"{prefix}.index"):
            raise
        logger.warning("%s was the best so far, but is rotated away already", prefix)
