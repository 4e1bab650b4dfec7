"""Builds a job from a config: plan, model, optimizer, input, and the loop over them."""

from __future__ import annotations

import dataclasses
import functools
import gc
import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from google.protobuf import text_format

from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.checkpoint.names import SavedTensor, tensor_bytes
from hvdrec.checkpoint.restore import RestoreReport
from hvdrec.config import Config
from hvdrec.config.config import has_eval_input
from hvdrec.config.protos.train_pb2 import RowUpdates
from hvdrec.config.variables import idle_patterns, optimizer_index
from hvdrec.data.batch import InputPosition
from hvdrec.data.identity import describe
from hvdrec.data.input import input_files, own_positions
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan
from hvdrec.features.fields import heads_of
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import variable_key
from hvdrec.losses.labels import label_ranges
from hvdrec.metrics.candidates import HardNegativeAccuracy
from hvdrec.metrics.registry import build_metrics
from hvdrec.metrics.task import Task
from hvdrec.models.recommender import Recommender
from hvdrec.ops.huge_pages import use_huge_pages
from hvdrec.ops.lookup import gather_rows
from hvdrec.ops.policy import NATIVE
from hvdrec.optim.registry import build_optimizers
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.serving.updates import variables_of
from hvdrec.trainer.assembly import loop_parts
from hvdrec.trainer.input import open_batches, try_eval_input
from hvdrec.trainer.loop import Loop, LoopParts
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.done_mark import was_done
from hvdrec.trainer.run.log import RunLog, logger
from hvdrec.trainer.run.memory import need_memory
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.places import need_folder, need_places
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.run.signals import StopSignals
from hvdrec.trainer.run.skipped_rows import (
    need_weights,
    report_empty_columns,
    report_skipped_rows,
)
from hvdrec.trainer.run.splitting import place_tables, ranks_of
from hvdrec.trainer.run.start import Start, begin, describe_positions, identity
from hvdrec.trainer.step.dynamic_rows import DynamicRows
from hvdrec.trainer.step.feed import Feed
from hvdrec.trainer.step.state import entries as state_entries
from hvdrec.trainer.watch.deltas import DeltaPlaces, Deltas
from hvdrec.trainer.watch.early_stop import Rule, find_rule
from hvdrec.trainer.watch.evaluator import Evaluator, HeadMetric
from hvdrec.trainer.watch.exporters import RunExports
from hvdrec.trainer.watch.gathered import Gathered
from hvdrec.trainer.watch.history import MetricFile
from hvdrec.trainer.watch.pictures import Pictures
from hvdrec.trainer.work_left import nothing_left

#: With `row_updates: AUTO`, banks with fewer rows for each row that a batch touches are swept, which rounds
#: like EasyRec: a pass over all rows in order then costs up to three times as much as the touched ones.
DEFERRED_FROM = 32


class Job:
    """A training job on this rank."""

    def __init__(
        self,
        config: Config,
        group: ReplicaGroup,
        folder: RunFolder | None = None,
        placement: Placement | None = None,
    ) -> None:
        """Creates the model's variables; no data is read yet.

        Args:
            config: The config to train.
            group: The ranks.
            folder: The run's files; None takes model_dir as it is.
            placement: Where the variables are placed; None: on every rank, except split tables.

        Raises:
            ConfigError: The config is inconsistent.
        """
        self.config, self.proto, self.group = config, config.proto, group
        train = self.proto.train_config
        here = placement is None or placement is HERE
        # First, because the ranks exchange something here, and what follows may fail on one of them.
        ranks = ranks_of(group) if here else None
        self.plan = build_plan(self.proto, label_ranges(heads_of(self.proto)))
        if ranks is not None:
            if placement is None:
                batch_size = int(self.proto.data_config.batch_size)
                placement = place_tables(self.plan, train, batch_size, group, ranks)
            need_memory(self.plan, train, group.rank, group.local_size, placement, ranks.in_group)
        assert placement is not None
        self.recommender = Recommender(self.proto, self.plan, int(train.seed), placement)
        self.rows = DynamicRows(self.recommender.strategy)
        self.feed = Feed(self.plan, self.rows)
        optimizer_of = self._optimizer_of()
        self.optimizer = build_optimizers(train.optimizer_config, lambda v: optimizer_of[variable_key(v)])
        self.optimizer.place(placement, self.recommender.policy)
        banks = [v for bank in self.recommender.strategy.trained for v in bank.parts]
        self.optimizer.create_slots([*banks, *self.recommender.dense_trainable])
        #: The variables whose rows training updates only when they are needed.
        self.deferred: list[str] = []
        self.global_step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        for bank in self.rows.banks:
            name = variable_key(bank.variable)
            slots = [of[name] for of in self.optimizer.slots.values() if name in of]
            bank.follow(slots, lambda: int(self.global_step.numpy()))
            bank.processes = group.local_size
        self.folder = folder or RunFolder(config)
        self.store = self.folder.open_store()
        #: Gathers split tables for an export, if there are any.
        self.gathered = Gathered(config, self.recommender, group) if self.recommender.strategy.meets else None
        #: What a command restored, on rank 0.
        self.restored: RestoreReport | None = None
        self.exports: RunExports | None = None
        self.stop_rule: Rule | None = None
        self._training_input: Mapping[str, Any] = {}
        self._evaluated_input: Mapping[str, Any] = {}
        #: Where the changes between checkpoints go, if the config has `incr_save_config`.
        self.delta_places: DeltaPlaces | None = None
        #: What sends them, in all loops of a run.
        self.deltas: Deltas | None = None
        #: The step of the result that `train` returns.
        self.evaluated_step = 0

    def _optimizer_of(self) -> dict[str, int]:
        """The index of the `optimizer_config` of each variable, by its name in TensorFlow."""
        dense = {name: optimizer_index(self.proto, name) for name in self.recommender.store.variables_by_name}
        banks = zip(self.recommender.banks, self.plan.banks, strict=True)
        tables = {variable_key(v): layout.optimizer for bank, layout in banks for v in bank.parts}
        return {**dense, **tables}

    def _defer_updates(self) -> list[str]:
        """Defers updates as `row_updates` says; only for training. DEFERRED must be possible."""
        mode = self.proto.train_config.row_updates
        if mode == RowUpdates.SWEEP:
            return []
        trained = self.recommender.strategy.trained
        banks = [bank for bank in trained if bank.reads_late]
        try:
            if mode == RowUpdates.DEFERRED and len(banks) < len(trained):
                raise ConfigError("DEFERRED: works only with tables of a fixed size in the ranks' memory")
            if mode == RowUpdates.DEFERRED:
                return self.optimizer.defer(banks, required=True)
            batch_size = int(self.proto.data_config.batch_size)
            plans = zip(self.recommender.banks, self.plan.banks, strict=True)
            large = [b for b, p in plans if b in banks and p.rows >= DEFERRED_FROM * p.touched(batch_size)]
            return self.optimizer.defer(large, required=False)
        except ConfigError as error:
            raise ConfigError(f"{self.config.where('train_config.row_updates')}: {error}") from None

    @property
    def dense_weights(self) -> int:
        """The number of trained weights outside the banks."""
        return sum(math.prod(v.shape) for v in self.recommender.dense_trainable)

    def describe_tables(self) -> str:
        """Describes where the tables and the optimizer's slots are, and their memory."""
        tables = [entry for entry in self.entries() if entry.rows is not None]
        whole = tensor_bytes([entry for entry in tables if not entry.split])
        split = [tensor_bytes([entry]) for entry in tables if entry.split]
        return (
            f"tables and their slots: {whole:,} bytes on every rank, {sum(split):,} split over the ranks; "
            f"{whole + sum(size // self.group.size for size in split):,} on each"
        )

    def train(
        self,
        continue_train: bool,
        verify: int,
        options: RunOptions | None = None,
        accepted: Callable[[], None] = lambda: None,
    ) -> dict[str, float]:
        """Trains until the end.

        Args:
            continue_train: Continue from the newest checkpoint in model_dir, if there is one.
            verify: `--verify_replicas`; 0 = never.
            options: Other flags.
            accepted: Called on every rank after the state is restored and the input is open; until then no
                file of an earlier run is changed.

        Returns:
            The result of the last evaluation, empty if there was none.
        """
        options = options or RunOptions()
        run_on_all_ranks(self.group, lambda: self._prepare(options))
        if self.deferred and self.group.rank == 0:
            logger.info("rows move when they are needed (row_updates): %s", ", ".join(self.deferred))
        self._describe_inputs(options.fit_on_eval)
        start = begin(
            self.proto,
            self.store,
            self.entries(),
            self.recommender.strategy,
            self.group,
            self.identity(),
            continue_train,
            options,
            self._evaluated_input,
        )
        self.move_to_huge_pages()
        log = RunLog(self.folder.path, self.group.rank, int(self.proto.train_config.num_steps) or None)
        log.text("pipeline.config", text_format.MessageToString(self.proto, as_utf8=True))
        saver = BackgroundSaver(self.store)
        assembled = functools.partial(
            loop_parts, self, log=log, saver=saver, verify=verify, options=options, kept=start.saved
        )

        def ready(parts: LoopParts, position: InputPosition, limit: str | None = None) -> None:
            run_on_all_ranks(self.group, lambda: self._need_work(parts, position, limit))
            accepted()

        try:
            result: dict[str, float] = {}
            kept = start.kept
            if start.fit_from is None or not options.fit_on_eval:
                # With --fit_on_eval there may be work left after training has ended.
                alone = (lambda *_: accepted()) if options.fit_on_eval else ready
                result, kept = self._train(start.position, assembled, alone)
            if options.fit_on_eval:
                self._fit_on_eval(start, kept, options.fit_on_eval_steps, assembled, ready)
            return result
        finally:
            # A save in progress is still useful when the run fails.
            saver.close()
            log.close()

    def move_to_huge_pages(self) -> None:
        """Moves large tables and their slots to huge pages; after restoring, which may replace variables."""
        if self.recommender.policy.optimizers != NATIVE:
            return
        parts = [part for bank in self.recommender.strategy.trained for part in bank.parts]
        names = [variable_key(part) for part in parts]
        slots = [of[name] for of in self.optimizer.slots.values() for name in names if name in of]
        moved = use_huge_pages([*parts, *slots, *self.optimizer.unsaved.values()])
        if moved and self.group.rank == 0:
            logger.info("large tables and their slots are in huge pages: %s bytes", f"{moved:,}")

    def _prepare(self, options: RunOptions) -> None:
        """Checks, on rank 0 and before training, everything that is needed only later.

        All ranks defer updates here, before anything is traced.
        """
        if not self.recommender.trained_banks and not self.recommender.dense_trainable:
            where = self.config.where("train_config.freeze_gradient")
            raise ConfigError(f"{where}: every variable is frozen; nothing is left to train")
        self.deferred = self._defer_updates()
        if self.recommender.policy.optimizers == NATIVE:
            for bank in self.recommender.strategy.trained:
                if bank.reads_late and bank.reader is None:
                    bank.reader = gather_rows
        self.prepare_exports(options)
        self._prepare_deltas(options.signals)
        if self.group.rank == 0:
            names = [entry.name for entry in self.entries()]
            for path, pattern in idle_patterns(self.proto, names).items():
                logger.warning("%s: %r matches no variable", self.config.where(path), pattern)
            need_places(self.folder.path, tensor_bytes(self.entries()))
            if options.evaluates and has_eval_input(self.proto):
                try_eval_input(self.proto, self.plan)
            if options.hpo_metric_save_path:
                read = [f.name for training in (True, False) for f in input_files(self.proto, training)]
                metrics = MetricFile(options.hpo_metric_save_path, self.folder.path)
                metrics.need_place([self.config.path, *read])

    def _prepare_deltas(self, signals: StopSignals) -> None:
        """Checks that changes between checkpoints can be sent."""
        config = self.proto.train_config
        if not config.HasField("incr_save_config"):
            return
        on_rank_0 = self.group.rank == 0
        places = DeltaPlaces(
            config.incr_save_config,
            self.folder.path,
            self.folder.is_copy,
            on_rank_0,
            lambda: signals.received != 0,
        )
        if places.sink is not None:
            need_folder(str(places.folder.path), "train_config.incr_save_config")
            variables = variables_of(self.recommender)
            places.folder.check(variables, bool(self.store.steps()))
            places.sink.prepare(variables)
        self.delta_places, self.deltas = places, None

    def prepare_exports(self, options: RunOptions | None = None) -> None:
        """Checks, on rank 0 and before training, that the config's exports and end conditions work."""
        losses = (*self.recommender.loss_names(training=False), "total_loss")
        measured = [name for metric in self.metrics() for name in metric.result()]
        names = [*measured, *self.recommender.model.mean_names, *(f"loss/loss/{n}" for n in losses)]
        if self.group.rank == 0:
            self.exports = self._run_exports([*names, "loss"])
            if options is not None:
                self.stop_rule = find_rule(self.config, [*names, "loss"])

    def _run_exports(self, evaluated: Sequence[str]) -> RunExports:
        return RunExports(
            self.config, self.folder, self.recommender, self.store, evaluated, gathered=self.gathered
        )

    def loop(self, parts: LoopParts, position: InputPosition) -> Loop:
        """Builds the training loop."""
        return Loop(parts, position)

    def evaluator(self) -> Evaluator:
        """Builds the evaluator."""
        return Evaluator(self.recommender, self.feed)

    @property
    def processes(self) -> str:
        """Describes the processes that train."""
        return f"{self.group.size} rank{'' if self.group.size == 1 else 's'}"

    def identity(self) -> dict[str, Any]:
        """The identity of this run, saved in its checkpoints."""
        return identity(self.proto, self.group, self._training_input)

    def _describe_inputs(self, fit_on_eval: bool) -> None:
        """Describes the inputs, for the checkpoints of this run (collective)."""

        def found() -> list[dict[str, Any]]:
            if self.group.rank != 0:
                return []
            training = describe(input_files(self.proto, True))
            return [training, describe(input_files(self.proto, False)) if fit_on_eval else {}]

        described = self.group.gather_objects(run_on_all_ranks(self.group, found))[0]
        self._training_input, self._evaluated_input = described

    def _need_work(self, parts: LoopParts, position: InputPosition, limit: str | None) -> None:
        """Checks, on rank 0, that the run has something to train, so that it doesn't end as if it had
        trained.

        Raises:
            ConfigError: There is nothing to train, and no unfinished end of an earlier run to complete.
        """
        if self.group.rank != 0:
            return
        step = int(self.global_step.numpy())
        why = nothing_left(self.config, parts, step, position, limit)
        if why is None:
            return
        if step == 0 or (parts.left_out and not position.row) or was_done(self.folder.model_dir):
            raise ConfigError(f"{why}; nothing is left to train")
        logger.warning("%s; nothing is left to train, but the previous run did not finish", why)

    def _train(
        self,
        position: InputPosition,
        assembled: Callable[..., LoopParts],
        ready: Callable[..., None],
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Trains on the training data; returns the last evaluation and what a checkpoint saves."""
        own = own_positions(self.proto)
        same = {"config_sha256": _digest(self.proto), **self.identity()}

        def extra(positions: Sequence[InputPosition]) -> dict[str, Any]:
            return {**same, **describe_positions(positions, own)}

        with open_batches(self.proto, self.plan, self.group, True, position) as loader:
            parts = assembled(loader, extra)
            ready(parts, position)
            loop = self.loop(parts, position)
            result = loop.run()
            self.evaluated_step = loop.now
            report_skipped_rows(self.proto, self.group, loader, "training")
            report_empty_columns(self.group, loader, "training")
            need_weights(self.proto, self.group, loader)
            parts.log.record(
                "end", step=loop.now, samples=loop.samples, input=dataclasses.asdict(loader.stats())
            )
        return result, extra(self.group.gather_objects(loop.position))

    def _fit_on_eval(
        self,
        start: Start,
        kept: Mapping[str, Any],
        steps: int,
        assembled: Callable[..., LoopParts],
        ready: Callable[..., None],
    ) -> None:
        """Trains on the evaluation data, for `--fit_on_eval`."""
        first = int(self.global_step.numpy()) if start.fit_from is None else start.fit_from
        own = own_positions(self.proto)
        logger.info("training on the evaluation data from step %d on", first)

        def extra(positions: Sequence[InputPosition]) -> dict[str, Any]:
            fit = {"from": first, "input": self._evaluated_input, **describe_positions(positions, own)}
            return {**kept, "fit_on_eval": fit}

        path = getattr(self.proto, self.proto.WhichOneof("eval_path"))
        # The first steps are in a reference cycle; their operations would keep the memory of the moments.
        gc.collect()
        with open_batches(
            self.proto, self.plan, self.group, True, start.fit_position, paths=[path]
        ) as loader:
            parts = assembled(loader, extra)
            schedule = dataclasses.replace(parts.schedule, last=first + steps if steps else 0)
            parts = dataclasses.replace(parts, evaluate=None, schedule=schedule)
            ready(parts, start.fit_position, "--fit_on_eval_steps")
            self.loop(parts, start.fit_position).run()

    def entries(self) -> list[SavedTensor]:
        """All entries of this job's checkpoints."""
        return state_entries(self.recommender, self.optimizer, self.global_step)

    def pictures(self) -> Pictures:
        """Builds the pictures of an evaluation."""
        heads = [h for h in self.recommender.heads if Task.of(h.config).has_one_probability]
        return Pictures(self.recommender, heads)

    def metrics(self) -> list[HeadMetric]:
        """The metrics of an evaluation, head by head."""
        found: list[HeadMetric] = []
        for head in self.recommender.heads:
            config = head.config
            built = build_metrics(config.metrics, Task.of(config), config.metrics_path)
            found.extend(HeadMetric(head, metric) for metric in built)
            if config.hard_negatives and HardNegativeAccuracy.reads in head.names:
                found.append(HeadMetric(head, HardNegativeAccuracy()))
        return found

    def evaluate(
        self,
        evaluator: Evaluator,
        paths: list[str] | None = None,
        pictures: Pictures | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Evaluates the current weights on the evaluation input (collective).

        Args:
            evaluator: The evaluator that runs the model.
            paths: Read these instead of the config's.
            pictures: Collects the data for pictures.
            stopped: Returns whether to stop early; the result is then invalid.
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
            metrics = [*self.metrics(), *(pictures.metrics() if pictures else ())]
            result = evaluator.evaluate(batches, metrics, self.group, limit)
            if pictures and self.recommender.strategy.meets:
                pictures.look(self.group.rank == 0)
            report_skipped_rows(self.proto, self.group, loader, "evaluation")
            return result
        finally:
            loader.close()


def _digest(proto: Any) -> str:
    return hashlib.sha256(proto.SerializePartialToString(deterministic=True)).hexdigest()
