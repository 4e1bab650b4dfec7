"""`--eval_method separate`: the process that evaluates each new checkpoint while the others train."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
import uuid
from collections.abc import Callable

import tensorflow as tf

from hvdrec import storage
from hvdrec.checkpoint.names import Entry
from hvdrec.config import Config
from hvdrec.errors import CheckpointError, ConfigError, StoppedError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.evaluate import Evaluator, write_result
from hvdrec.trainer.evaluations import MetricFile
from hvdrec.trainer.job import Job, has_eval_input
from hvdrec.trainer.log import RunLog, logger
from hvdrec.trainer.signals import StopSignals
from hvdrec.trainer.state import model_entries
from hvdrec.trainer.workplace import workplace

#: EasyRec's name for the file that says that no checkpoint comes any more.
_DONE = "ESTIMATOR_TRAIN_DONE"
_POLL_SECONDS = 0.5
#: A file can be seen so much later on another host of a network file system.
_APPEARS_SECONDS = 10.0


def time_of(model_dir: str) -> int:
    """The time now in nanoseconds by the clock of the folder's file system."""
    if storage.is_remote(model_dir):
        probe = storage.join(model_dir, f".clock-{uuid.uuid4().hex}")
        storage.write_text(probe, "now")
        try:
            return storage.modified(probe)
        finally:
            storage.remove(probe)
    os.makedirs(model_dir, exist_ok=True)
    with tempfile.TemporaryFile(dir=model_dir) as file:
        file.write(b"now")
        file.flush()
        return os.stat(file.fileno()).st_mtime_ns


def need_one_folder(model_dir: str, group: ReplicaGroup) -> None:
    """Makes sure that all processes see the same model_dir (collective, of all that were started).

    Raises:
        ConfigError: The evaluating process would wait in vain for checkpoints.
    """
    if storage.is_remote(model_dir):
        return
    own = f".seen-by-{socket.gethostname()}-{os.getpid()}"
    path = os.path.join(model_dir, own)
    try:
        with open(path, "w", encoding="utf-8"):
            names = group.gather_from_all(own)
        end = time.monotonic() + _APPEARS_SECONDS
        while (unseen := set(names) - set(os.listdir(model_dir))) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        apart = any(group.gather_from_all(bool(unseen)))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    if apart:
        raise ConfigError(
            f"--eval_method separate: the processes don't see the same {model_dir}; put it on a file "
            "system that all hosts share, or give --eval_method master"
        )


def mark_done(model_dir: str) -> None:
    """Tells the evaluating process that the last checkpoint is written."""
    if storage.is_remote(model_dir):
        storage.write_text(storage.join(model_dir, _DONE), "done\n")
        return
    with open(os.path.join(model_dir, _DONE), "w", encoding="utf-8") as file:
        file.write("Train Done.\n")


def clear_done(model_dir: str) -> None:
    """Takes an earlier run's mark away."""
    if storage.is_remote(model_dir):
        storage.remove(storage.join(model_dir, _DONE))
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(model_dir, _DONE))


def _is_done(model_dir: str, since: int) -> bool:
    """Whether the mark is there and isn't an earlier run's."""
    if storage.is_remote(model_dir):
        return storage.modified(storage.join(model_dir, _DONE)) >= since
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
    with workplace(config, group) as place:
        place.pull()
        return _follow(config, group, signals, since, metric_file, alone)


def _follow(
    config: Config,
    group: ReplicaGroup,
    signals: StopSignals,
    since: int,
    metric_file: str | None,
    alone: Callable[[], bool],
) -> dict[str, float]:
    job = Job(config, group)
    job.prepare_exports()
    pictures = job.pictures()
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    entries = [*model_entries(job.recommender), Entry("global_step", step, None)]
    metrics = MetricFile(metric_file, config.run_dir) if metric_file else None
    evaluator = Evaluator(job.recommender, job.feed)
    log = RunLog(config.run_dir, group.rank, None, name="evaluator")
    pause = _POLL_SECONDS * (10 if config.work_dir else 1)
    result: dict[str, float] = {}
    seen = -1
    try:
        while True:
            # Looked at before the checkpoints: what is written before the mark is seen after it.
            done = _is_done(config.proto.model_dir, since) or alone()
            new = [s for s in job.store.steps() if s > seen]
            if not new and done:
                return result
            if signals.received:
                raise StoppedError("stopped; the run's checkpoints are for hvdrec.eval", signals.received)
            if not new:
                time.sleep(pause)
                continue
            seen = new[0]
            try:
                job.store.restore(job.store.prefix(seen), entries)
            except CheckpointError:
                if job.store.has(seen):
                    raise
                continue  # Rotated away: training is faster than evaluation.
            start = time.monotonic()
            result = job.evaluate(evaluator, pictures=pictures)
            log.evaluated(seen, time.monotonic() - start, result)
            pictures.write(log, "eval_val", seen)
            if metrics is not None:
                metrics.add(seen, result)
            write_result(os.path.join(config.run_dir, "eval_result.txt"), result, seen)
            config.push("eval")
            # EasyRec doesn't export the first values either.
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
        logger.warning("step %d was the best so far, but is rotated away already", step)
