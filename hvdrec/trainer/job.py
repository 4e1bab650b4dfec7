"""Builds a job from a config: plan, model, optimizer, input, and the loop over them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.checkpoint.names import Entry
from hvdrec.config import Config
from hvdrec.config.variables import optimizer_index
from hvdrec.data import RowSource, open_source
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.data.loader import Loader
from hvdrec.features import Packer, build_plan
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import variable_key
from hvdrec.metrics.base import Metric
from hvdrec.metrics.registry import build_metrics
from hvdrec.metrics.task import Task
from hvdrec.models.recommender import Recommender
from hvdrec.optim.registry import build_optimizers
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.agree import together
from hvdrec.trainer.early_stop import EarlyStop, Rule, find_rule
from hvdrec.trainer.ending import endings
from hvdrec.trainer.evaluate import Evaluator
from hvdrec.trainer.evaluations import MetricFile
from hvdrec.trainer.exporters import RunExports, export_after_evaluation
from hvdrec.trainer.feed import Feed
from hvdrec.trainer.gradient_summaries import GradientSummaries
from hvdrec.trainer.left_out import tell_left_out
from hvdrec.trainer.log import RunLog, logger
from hvdrec.trainer.loop import AfterEvaluation, Loop, LoopParts, Watcher
from hvdrec.trainer.options import RunOptions
from hvdrec.trainer.pictures import Pictures
from hvdrec.trainer.profiling import Profiler
from hvdrec.trainer.reduce import DENSE, GATHER, BankShape, Reducer, choose_mode
from hvdrec.trainer.same_files import need_same_files
from hvdrec.trainer.schedule import Schedule, steps_per_call
from hvdrec.trainer.start import Start, begin, describe_positions, identity
from hvdrec.trainer.state import entries as state_entries
from hvdrec.trainer.state import model_entries
from hvdrec.trainer.step import TrainStep
from hvdrec.trainer.throttle import EvalThrottle
from hvdrec.trainer.workplace import open_store


def set_threads(train_config: Any, local_size: int) -> None:
    """Shares the machine's cores between its ranks; must come before TensorFlow's first operation."""
    intra, inter = threads(train_config, local_size)
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def threads(train_config: Any, local_size: int) -> tuple[int, int]:
    """A rank's threads within an operation, and operations at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    own = max(1, cores // local_size)
    return train_config.intra_op_parallelism_threads or own, train_config.inter_op_parallelism_threads or own


def open_batches(
    proto: Any,
    plan: FeaturePlan,
    group: ReplicaGroup,
    training: bool,
    start: InputPosition | None = None,
    paths: list[str] | None = None,
) -> Loader:
    """This rank's packed batches, read and packed by background threads (collective).

    Args:
        proto: The config.
        plan: Its feature plan.
        group: The ranks the rows are dealt to.
        training: Training input (shuffled, repeated) or evaluation input (once, in file order).
        start: Where to go on.
        paths: Read these instead of the config's.

    Returns:
        The loader; close it when done.
    """
    packer = Packer(plan, ignore_error=proto.data_config.ignore_error)

    def open_input() -> RowSource:
        return open_source(
            proto,
            paths=paths,
            fields=plan.fields,
            rank=group.rank,
            size=group.size,
            training=training,
            start=start or InputPosition(),
            seed=proto.train_config.seed,
        )

    source = together(group, open_input)
    need_same_files(source.files, not (training and proto.data_config.file_shard), group)
    return Loader(source, packer.pack_block, proto.data_config.prefetch_size)


class Job:
    """One training job of this rank."""

    def __init__(self, config: Config, group: ReplicaGroup, placement: Placement = HERE) -> None:
        """Makes the model's variables; nothing is read yet.

        Args:
            config: What to train.
            group: The ranks.
            placement: Where the variables live.

        Raises:
            ConfigError: The config doesn't fit together.
        """
        self.config, self.proto, self.group = config, config.proto, group
        train = self.proto.train_config
        self.plan = build_plan(self.proto)
        self.recommender = Recommender(self.proto, self.plan, int(train.seed), placement)
        self.feed = Feed(self.plan)
        optimizer_of = self._optimizer_of()
        self.optimizer = build_optimizers(train.optimizer_config, lambda v: optimizer_of[variable_key(v)])
        self.optimizer.place(placement)
        banks = [part for i in self.recommender.trained_banks for part in self.recommender.banks[i].parts]
        self.optimizer.create_slots([*banks, *self.recommender.dense_trainable])
        self.global_step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        self.store = open_store(config)
        self.exports: RunExports | None = None
        self._stop_rule: Rule | None = None
        #: The step of the result that `train` gives.
        self.evaluated_step = 0

    def _optimizer_of(self) -> dict[str, int]:
        """Which `optimizer_config` trains each variable, by its name in TensorFlow."""
        dense = {name: optimizer_index(self.proto, name) for name in self.recommender.store.variables_by_name}
        banks = zip(self.recommender.banks, self.plan.banks, strict=True)
        tables = {variable_key(p): layout.optimizer for bank, layout in banks for p in bank.parts}
        return {**dense, **tables}

    @property
    def dense_weights(self) -> int:
        """Numbers in the trained variables apart from the banks."""
        return sum(math.prod(v.shape) for v in self.recommender.dense_trainable)

    def train(self, continue_train: bool, verify: int, options: RunOptions | None = None) -> dict[str, float]:
        """Trains to the end.

        Args:
            continue_train: Go on from the newest checkpoint of model_dir, if there is one.
            verify: `--verify_replicas`, 0 = never.
            options: Other flags.

        Returns:
            The last evaluation's result, empty if there was none.
        """
        options = options or RunOptions()
        together(self.group, lambda: self.prepare_exports(options))
        start = begin(
            self.proto, self.store, self.entries(), self.group, self.identity(), continue_train, options
        )
        log = RunLog(self.config.run_dir, self.group.rank, int(self.proto.train_config.num_steps) or None)
        saver = BackgroundSaver(self.store)
        assembled = functools.partial(self._parts, log=log, saver=saver, verify=verify, options=options)
        try:
            result: dict[str, float] = {}
            kept = start.kept
            if start.fit_from is None or not options.fit_on_eval:
                result, kept = self._train(start.position, assembled)
            if options.fit_on_eval:
                self._fit_on_eval(start, kept, options.fit_on_eval_steps, assembled)
            return result
        finally:
            # What is being saved stays worth having when the run fails.
            saver.close()
            log.close()

    def prepare_exports(self, options: RunOptions | None = None) -> None:
        """Rank 0 finds out before anything runs whether it can export and end as the config asks."""
        losses = (*self.recommender.loss_set.names, "total_loss")
        names = [*(name for m in self._metrics() for name in m.result()), *(f"loss/loss/{n}" for n in losses)]
        if self.group.rank == 0:
            self.exports = self._run_exports([*names, "loss"])
            if options is not None:
                self._stop_rule = find_rule(self.config, [*names, "loss"], options.allow_user_code)

    def _run_exports(self, evaluated: Sequence[str]) -> RunExports:
        return RunExports(self.config, self.recommender, self.store, evaluated)

    def loop(self, parts: LoopParts, position: InputPosition) -> Loop:
        """What drives the steps."""
        return Loop(parts, position)

    def evaluator(self) -> Evaluator:
        """What runs the model for evaluation."""
        return Evaluator(self.recommender, self.feed)

    @property
    def processes(self) -> str:
        """How many processes train, in words."""
        return f"{self.group.size} rank{'' if self.group.size == 1 else 's'}"

    def identity(self) -> dict[str, Any]:
        """What a checkpoint keeps of this run."""
        return identity(self.proto, self.group)

    def _train(
        self, position: InputPosition, assembled: Callable[..., LoopParts]
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Trains on the training data; gives the last evaluation and what a checkpoint keeps."""
        own = bool(self.proto.data_config.file_shard)
        same = {"config_sha256": _digest(self.proto), **self.identity()}

        def extra(positions: Sequence[InputPosition]) -> dict[str, Any]:
            return {**same, **describe_positions(positions, own)}

        with open_batches(self.proto, self.plan, self.group, True, position) as loader:
            parts = assembled(loader, extra)
            loop = self.loop(parts, position)
            result = loop.run()
            self.evaluated_step = loop.now
            tell_left_out(self.proto, self.group, loader, "training")
            parts.log.record(
                "end", step=loop.now, samples=loop.samples, input=dataclasses.asdict(loader.stats())
            )
        return result, extra(self.group.gather_objects(loop.position))

    def _fit_on_eval(
        self, start: Start, kept: Mapping[str, Any], steps: int, assembled: Callable[..., LoopParts]
    ) -> None:
        """Trains on the evaluation data, as `--fit_on_eval` asks."""
        first = int(self.global_step.numpy()) if start.fit_from is None else start.fit_from
        own = bool(self.proto.data_config.file_shard)
        logger.info("training on the evaluation data from step %d on", first)

        def extra(positions: Sequence[InputPosition]) -> dict[str, Any]:
            return {**kept, "fit_on_eval": {"from": first, **describe_positions(positions, own)}}

        path = str(getattr(self.proto, self.proto.WhichOneof("eval_path")))
        with open_batches(
            self.proto, self.plan, self.group, True, start.fit_position, paths=[path]
        ) as loader:
            parts = assembled(loader, extra)
            schedule = dataclasses.replace(parts.schedule, last=first + steps if steps else 0)
            parts = dataclasses.replace(parts, evaluate=None, schedule=schedule)
            self.loop(parts, start.fit_position).run()

    def entries(self) -> list[Entry]:
        """All that a checkpoint of this job holds."""
        return state_entries(self.recommender, self.optimizer, self.global_step)

    def _step(self, first: PackedBatch | None) -> TrainStep:
        train = self.proto.train_config
        touched = [
            0 if first is None else first.arrays[f"bank{i}/rows"].shape[0]
            for i in range(len(self.plan.banks))
        ]
        most = [max(column) for column in zip(*self.group.gather_objects(touched), strict=True)]
        shapes = []
        for i in self.recommender.trained_banks:
            bank = self.plan.banks[i]
            mode = self._mode(i, most[i])
            shapes.append(BankShape(bank.rows, bank.dim, mode))
            if self.group.size > 1:
                logger.info(
                    "bank %d: %d rows x %d, a batch touches %d: gradient travels as %s",
                    *(i, bank.rows, bank.dim, most[i], mode),
                )
        reducer = Reducer(self.group, shapes, train.allreduce_compression == train.FP16)
        optimizer = train.optimizer_config[0]
        scaled = optimizer.HasField("embedding_learning_rate_multiplier")
        return TrainStep(
            self.recommender,
            self.optimizer,
            self.group,
            self.feed,
            reducer,
            self.global_step,
            float(train.gradient_clipping_by_norm),
            int(train.seed),
            float(optimizer.embedding_learning_rate_multiplier) if scaled else 1.0,
        )

    def _mode(self, index: int, touched: int) -> str:
        train, bank = self.proto.train_config, self.plan.banks[index]
        if self.optimizer.tells_apart(self.recommender.banks[index].parts[0]):
            return GATHER
        if train.sparse_reduce != train.AUTO:
            return DENSE if train.sparse_reduce == train.DENSE else GATHER
        return choose_mode(bank.rows, bank.dim, touched, self.group.size)

    def _parts(
        self,
        batches: Loader,
        extra: Callable[[Sequence[InputPosition]], dict[str, Any]],
        *,
        log: RunLog,
        saver: BackgroundSaver,
        verify: int,
        options: RunOptions,
    ) -> LoopParts:
        train = self.proto.train_config
        by_time = train.HasField("save_checkpoints_secs")
        first = next(batches, None)
        step = self._step(first)
        evaluator = self.evaluator()

        def evaluate() -> dict[str, float]:
            with self.optimizer.averaged():
                return self.evaluate(evaluator, None, pictures, lambda: options.signals.received != 0)

        def draw(now: int, result: dict[str, float]) -> None:
            if self.group.rank == 0:
                pictures.write(log, "eval_val", now)

        exported = export_after_evaluation(self.exports, self.group, saver)

        def export(now: int, result: dict[str, float]) -> None:
            with self.optimizer.averaged():
                exported(now, result)

        hooks: list[AfterEvaluation] = [draw, export]
        if options.hpo_metric_save_path:
            hooks.append(self._on_rank_0(MetricFile(options.hpo_metric_save_path, self.config.run_dir).add))
        if self.proto.export_config.enable_early_stop:
            stop = EarlyStop(self._stop_rule, self.config.run_dir) if self._stop_rule else _never
            hooks.append(self._on_rank_0(stop))
        watchers: list[Watcher] = []
        if train.is_profiling:
            period, on_rank_0 = int(train.log_step_count_steps), self.group.rank == 0
            watchers.append(Profiler(self.config.run_dir, period, on_rank_0, self.config.shown))
        if train.summary_model_vars and train.save_summary_steps:
            trained = model_entries(self.recommender)
            watchers.append(GradientSummaries(step, trained, log, int(train.save_summary_steps)))
        pictures = self.pictures()
        throttle = EvalThrottle(self.proto.eval_config)
        return LoopParts(
            group=self.group,
            step=step,
            batches=_chain(first, batches),
            saver=saver,
            entries=self.entries(),
            log=log,
            evaluate=evaluate if options.evaluates and has_eval_input(self.proto) else None,
            watchers=watchers,
            schedule=Schedule(
                last=int(train.num_steps),
                save=0 if by_time else int(train.save_checkpoints_steps),
                verify=verify,
                per_call=steps_per_call(int(train.steps_per_call), int(self.proto.data_config.batch_size)),
                watch=tuple(watcher.period for watcher in watchers),
            ),
            save_seconds=float(train.save_checkpoints_secs) if by_time else 0.0,
            log_steps=int(train.log_step_count_steps),
            summary_steps=int(train.save_summary_steps),
            extra=extra,
            own_positions=bool(self.proto.data_config.file_shard),
            signals=options.signals,
            endings=endings(self.proto) if self.group.rank == 0 else (),
            after_evaluation=hooks,
            steps_left=batches.batches_after,
            throttle=None if throttle.unlimited else throttle,
        )

    def _on_rank_0(self, work: Callable[[int, dict[str, float]], str | None]) -> AfterEvaluation:
        """Rank 0 works after an evaluation, and what it finds is what every rank finds."""

        def hook(step: int, result: dict[str, float]) -> str | None:
            found = together(self.group, lambda: work(step, result) if self.group.rank == 0 else None)
            return self.group.gather_objects(found)[0]

        return hook

    def pictures(self) -> Pictures:
        """What is drawn of an evaluation."""
        task = Task(tuple(self.recommender.loss_set.loss_types), int(self.proto.model_config.num_class))
        return Pictures(self.recommender, task.has_one_probability)

    def _metrics(self) -> list[Metric]:
        num_class = int(self.proto.model_config.num_class)
        return build_metrics(self.proto.eval_config, self.recommender.loss_set.loss_types, num_class)

    def evaluate(
        self,
        evaluator: Evaluator,
        paths: list[str] | None = None,
        pictures: Pictures | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Evaluates the current weights on the evaluation input (collective).

        Args:
            evaluator: Runs the model.
            paths: Read these instead of the config's.
            pictures: Collects what it draws.
            stopped: Whether to cut it short; the result is then of no use.
        """
        evaluation = self.proto.eval_config
        limit = None
        if evaluation.num_examples > 0:
            whole = -(-evaluation.num_examples // self.proto.data_config.batch_size)
            # Batch j belongs to rank j modulo the number of ranks.
            limit = len(range(self.group.rank, whole, self.group.size))
        loader = open_batches(self.proto, self.plan, self.group, False, paths=paths)
        try:
            batches = itertools.takewhile(lambda _: not stopped(), loader)
            metrics = [*self._metrics(), *(pictures.metrics() if pictures else ())]
            result = evaluator.evaluate(batches, metrics, self.group, limit)
            tell_left_out(self.proto, self.group, loader, "evaluation")
            return result
        finally:
            loader.close()


def has_eval_input(proto: Any) -> bool:
    """Whether the config names evaluation data."""
    kind = proto.WhichOneof("eval_path")
    return kind is not None and bool(getattr(proto, kind))


def _chain(first: PackedBatch | None, rest: Iterator[PackedBatch]) -> Iterator[PackedBatch]:
    if first is not None:
        yield first
    yield from rest


def _never(step: int, result: dict[str, float]) -> str | None:
    return None


def _distinct(found: list[Entry]) -> list[tf.Variable]:
    return list({id(e.variable): e.variable for e in found}.values())


def _digest(proto: Any) -> str:
    return hashlib.sha256(proto.SerializePartialToString(deterministic=True)).hexdigest()
