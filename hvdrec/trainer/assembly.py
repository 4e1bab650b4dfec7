"""Assembles the parts of a job's training loop: the step, the schedule, the work after evaluations."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.config.config import has_eval_input
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.data.input import own_positions, waits_for_rows
from hvdrec.data.loader import Loader, WaitInterruptedError
from hvdrec.errors import StoppedError
from hvdrec.layers.banks.replicated import DENSE, GATHER
from hvdrec.layers.banks.strategy import Bank
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.loop import AfterEvaluation, LoopParts, Watcher
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import RunLog, logger
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.schedule import Schedule, steps_per_call
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.skipped_rows import all_left_out
from hvdrec.trainer.run.stop_conditions import endings
from hvdrec.trainer.run.throttle import EvalThrottle
from hvdrec.trainer.step.buckets import choose_buckets, plan_buckets
from hvdrec.trainer.step.reduce import Reducer
from hvdrec.trainer.step.state import model_entries
from hvdrec.trainer.step.step import TrainStep
from hvdrec.trainer.watch.deltas import Deltas
from hvdrec.trainer.watch.early_stop import EarlyStop
from hvdrec.trainer.watch.exporters import export_after_evaluation
from hvdrec.trainer.watch.gradient_summaries import GradientSummaries
from hvdrec.trainer.watch.history import MetricFile
from hvdrec.trainer.watch.online_metrics import OnlineMetrics
from hvdrec.trainer.watch.pictures import Pictures
from hvdrec.trainer.watch.profiling import Profiler

if TYPE_CHECKING:
    from hvdrec.trainer.job import Job


def loop_parts(
    job: Job,
    batches: Loader,
    extra: Callable[[Sequence[InputPosition]], dict[str, Any]],
    *,
    log: RunLog,
    saver: BackgroundSaver,
    verify: int,
    options: RunOptions,
    kept: Mapping[str, Any],
) -> LoopParts:
    """The parts of the training loop of `job` (collective).

    Args:
        job: The job: model, optimizer, files.
        batches: This rank's batches.
        extra: Returns what is saved with a checkpoint, given the input positions.
        log: The record of the run.
        saver: Saves checkpoints (rank 0).
        verify: `--verify_replicas`; 0 = never.
        options: Other flags.
        kept: What was saved with the checkpoint that the run continues from.
    """
    proto, train = job.proto, job.proto.train_config
    by_time = train.HasField("save_checkpoints_secs")
    batches.interrupted = lambda: options.signals.received != 0
    first, exhausted = _first_batch(job.group, batches, options.signals)
    ends = endings(proto) if job.group.rank == 0 else ()
    if waits_for_rows(proto):
        batches.interrupted = lambda: options.signals.received != 0 or any(end() for end in ends)
    step = build_step(job, first)
    pictures = job.pictures()
    evaluator = job.evaluator()

    def evaluate() -> dict[str, float]:
        with job.optimizer.averaged():
            return job.evaluate(evaluator, None, pictures, lambda: options.signals.received != 0)

    watchers = _watchers(job, step, log)
    online = _online_metrics(job, log)
    watchers += [online] if online else []
    deltas = _deltas(job, kept)
    delta_steps = (deltas.dense_steps, deltas.sparse_steps) if deltas else ()
    throttle = EvalThrottle(proto.eval_config)
    return LoopParts(
        group=job.group,
        step=step,
        batches=_chain(first, batches),
        saver=saver,
        entries=job.entries(),
        log=log,
        evaluate=evaluate if options.evaluates and has_eval_input(proto) else None,
        watchers=watchers,
        schedule=Schedule(
            last=int(train.num_steps),
            save=0 if by_time else int(train.save_checkpoints_steps),
            verify=verify,
            # A step that has its rows isn't to wait for those of the next ones.
            per_call=1
            if waits_for_rows(proto)
            else steps_per_call(int(train.steps_per_call), int(proto.data_config.batch_size)),
            watch=(*(watcher.period for watcher in watchers), *delta_steps),
        ),
        save_seconds=float(train.save_checkpoints_secs) if by_time else 0.0,
        log_steps=int(train.log_step_count_steps),
        summary_steps=int(train.save_summary_steps),
        extra=extra,
        own_positions=own_positions(proto),
        signals=options.signals,
        endings=ends,
        after_evaluation=_after_evaluation(job, pictures, log, saver, options),
        steps_left=batches.batches_after,
        throttle=None if throttle.unlimited else throttle,
        exhausted=exhausted,
        left_out=all_left_out(job.group, batches) if exhausted else None,
        deltas=deltas,
        at_end=[online.end] if online else (),
    )


def _online_metrics(job: Job, log: RunLog) -> OnlineMetrics | None:
    """What evaluates the rows that are trained on, if the config asks for it."""
    proto = job.proto
    if not proto.eval_config.eval_online:
        return None
    steps = int(proto.train_config.save_summary_steps)
    return OnlineMetrics(job, job.recommender, job.feed, job.group, log, job.folder.path, steps)


def _deltas(job: Job, kept: Mapping[str, Any]) -> Deltas | None:
    """What sends changes between checkpoints, if the config asks for it."""
    config = job.proto.train_config.incr_save_config
    if job.delta_places is None:
        return None
    if job.deltas is None:
        resumed = bool(job.group.gather_objects(bool(job.store.steps()))[0])
        job.deltas = Deltas(
            config, job.recommender, job.optimizer, job.group, job.store, job.delta_places, kept, resumed
        )
    return job.deltas


def _first_batch(
    group: ReplicaGroup, batches: Loader, signals: StopSignals
) -> tuple[PackedBatch | None, bool]:
    """This rank's first batch with rows on any rank, and whether an epoch has no rows (collective)."""

    def take() -> PackedBatch | None:
        try:
            return next(batches, None)
        except WaitInterruptedError as error:
            name = signal.Signals(signals.received).name
            raise StoppedError(f"stopped by {name} before the first step", signals.received) from error

    begun: int | None = None
    while True:
        batch = run_on_all_ranks(group, take)
        found = group.gather_objects(None if batch is None else (batch.rows, batch.position.epoch))
        there = [each for each in found if each is not None]
        if any(rows for rows, _ in there):
            return batch, False
        epoch = max((epoch for _, epoch in there), default=0)
        begun = epoch if begun is None else begun
        if not there or epoch > begun + 1:
            return None, True


def build_step(job: Job, first: PackedBatch | None) -> TrainStep:
    """The training step; the first batches decide how bank gradients are exchanged (collective)."""
    train, strategy = job.proto.train_config, job.recommender.strategy
    trained = job.recommender.trained_banks
    touched = [0 if first is None else _touched(first, i) for i in trained]
    most = [max(column) for column in zip(*job.group.gather_objects(touched), strict=True)]
    wished = [_wished_exchange(job, bank) for bank in strategy.trained]
    half = train.allgather_compression == train.FP16
    for line in strategy.plan_exchange(most, wished, job.group.size, half):
        if job.group.size > 1:
            logger.info("%s", line)
    optimizer = train.optimizer_config[0]
    scaled = optimizer.HasField("embedding_learning_rate_multiplier")
    return TrainStep(
        job.recommender,
        job.optimizer,
        job.group,
        job.feed,
        _reducer(job),
        job.global_step,
        float(train.gradient_clipping_by_norm),
        int(train.seed),
        float(optimizer.embedding_learning_rate_multiplier) if scaled else 1.0,
    )


def _reducer(job: Job) -> Reducer:
    """What exchanges the gradients."""
    train, model = job.proto.train_config, job.recommender
    sizes = [4 * math.prod(v.shape) for v in model.dense_trainable]
    wished, alone = int(train.allreduce_buckets), job.group.size == 1
    buckets = plan_buckets(sizes, 1 if alone else choose_buckets(sizes, wished, job.group.one_host))
    if len(buckets) > 1:
        shown = ", ".join(f"{sum(sizes[i] for i in bucket):,}" for bucket in buckets)
        logger.info("dense gradients travel in %d messages of %s bytes", len(buckets), shown)
    return Reducer(job.group, model.strategy, train.allreduce_compression == train.FP16, buckets)


def _touched(batch: PackedBatch, bank: int) -> int:
    """The distinct ids of a batch in a bank."""
    keys = f"bank{bank}/keys"
    return len(batch.arrays[keys if keys in batch.arrays else f"bank{bank}/rows"])


def _wished_exchange(job: Job, bank: Bank) -> str | None:
    """How a bank's gradient must be exchanged; None if both ways are possible."""
    train = job.proto.train_config
    if job.optimizer.tells_apart(bank.parts[0]):
        return GATHER
    if train.sparse_reduce != train.AUTO:
        return DENSE if train.sparse_reduce == train.DENSE else GATHER
    return None


def _watchers(job: Job, step: TrainStep, log: RunLog) -> list[Watcher]:
    """The watchers of single calls."""
    train, watchers = job.proto.train_config, list[Watcher]()
    if train.is_profiling:
        period, on_rank_0 = int(train.log_step_count_steps), job.group.rank == 0
        watchers.append(Profiler(job.folder.path, period, on_rank_0, job.folder.shown))
    if train.summary_model_vars and train.save_summary_steps:
        trained = model_entries(job.recommender)
        watchers.append(GradientSummaries(step, trained, log, int(train.save_summary_steps)))
    return watchers


def _after_evaluation(
    job: Job, pictures: Pictures, log: RunLog, saver: BackgroundSaver, options: RunOptions
) -> list[AfterEvaluation]:
    """The hooks after an evaluation: pictures, exports, its record, early stop."""

    def draw(now: int, result: dict[str, float]) -> None:
        if job.group.rank == 0:
            pictures.write(log, "eval_val", now, result)

    exported = export_after_evaluation(job.exports, job.group, saver)

    def export(now: int, result: dict[str, float]) -> None:
        with job.optimizer.averaged():
            if job.gathered is not None:
                job.gathered.gather(job.exports is not None and job.exports.wants(now, result))
            exported(now, result)

    hooks: list[AfterEvaluation] = [draw, export]
    if options.hpo_metric_save_path:
        metrics = MetricFile(options.hpo_metric_save_path, job.folder.path)
        hooks.append(_on_rank_0(job.group, metrics.add))
    if job.proto.export_config.enable_early_stop:
        stop = EarlyStop(job.stop_rule, job.folder.path) if job.stop_rule else _never
        hooks.append(_on_rank_0(job.group, stop))
    return hooks


def _on_rank_0(group: ReplicaGroup, work: Callable[[int, dict[str, float]], str | None]) -> AfterEvaluation:
    """Runs hooks on rank 0 after an evaluation, and returns its result on every rank."""

    def hook(step: int, result: dict[str, float]) -> str | None:
        found = run_on_all_ranks(group, lambda: work(step, result) if group.rank == 0 else None)
        return group.gather_objects(found)[0]

    return hook


def _chain(first: PackedBatch | None, rest: Iterator[PackedBatch]) -> Iterator[PackedBatch]:
    if first is not None:
        yield first
    yield from rest


def _never(step: int, result: dict[str, float]) -> str | None:
    return None
