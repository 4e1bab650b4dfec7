"""A training job with variables on parameter servers; for the chief."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hvdrec.config import Config
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.cluster import Cluster
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.parameter_server import Coordinator, OnServers
from hvdrec.trainer.job import Job
from hvdrec.trainer.loop import Loop, LoopParts
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.run.turns import Turns
from hvdrec.trainer.servers.loop import ServerLoop
from hvdrec.trainer.servers.step import AsynchronousStep, ServerStep, SynchronousStep
from hvdrec.trainer.step.feed import Feed
from hvdrec.trainer.watch.evaluator import EvalOutput, Evaluator
from hvdrec.trainer.watch.exporters import RunExports

#: Steps that a worker receives at once; those that a lost worker had done are done twice.
_MOST_AT_ONCE = 8


class ServerJob(Job):
    """The chief reads, packs, logs, saves and exports; workers train and evaluate."""

    def __init__(
        self,
        config: Config,
        group: ReplicaGroup,
        cluster: Cluster,
        coordinator: Coordinator,
        folder: RunFolder | None = None,
    ) -> None:
        """Creates the variables on the servers.

        Args:
            config: The config to train; with `sync_replicas` all workers compute each step together.
            group: The group of only the chief.
            cluster: All processes.
            coordinator: The coordinator connected to the cluster.
            folder: The run's files; None uses model_dir directly.

        Raises:
            ConfigError: The config is inconsistent.
        """
        self._cluster, self._coordinator = cluster, coordinator
        self.synchronous = bool(config.proto.train_config.sync_replicas)
        with coordinator.strategy.scope():
            super().__init__(
                config,
                group,
                folder,
                OnServers(coordinator.strategy, cluster.servers, self.synchronous),
            )

    @property
    def processes(self) -> str:
        """Describes the workers and servers."""
        how = "in step" if self.synchronous else "asynchronously"
        workers = _counted(self._cluster.workers, "worker")
        return f"{workers} and {_counted(self._cluster.servers, 'server')}, {how}"

    def identity(self) -> dict[str, Any]:
        """The identity of this run, saved in its checkpoints; `ranks` counts the workers."""
        how = "" if self.synchronous else " asynchronous"
        return {**super().identity(), "ranks": f"{self._cluster.workers}{how} workers"}

    def loop(self, parts: LoopParts, position: InputPosition) -> Loop:
        """Builds the loop that sends batches to the workers."""
        step: ServerStep
        if self.synchronous:
            step = SynchronousStep(parts.step, self._coordinator, self._cluster.workers)
        else:
            at_once = min(parts.schedule.per_call, _MOST_AT_ONCE)
            step = AsynchronousStep(parts.step, self._coordinator, self._cluster.workers, at_once)

        def steps_left(at: InputPosition) -> int | None:
            left = parts.steps_left(at)
            return None if left is None else -(-left // step.batches)

        return ServerLoop(dataclasses.replace(parts, steps_left=steps_left), position, step)

    def evaluator(self) -> Evaluator:
        """Builds the evaluator that runs on the workers."""
        return _ServerEvaluator(self.recommender, self.feed, self._coordinator, self._cluster.workers)

    def _run_exports(self, evaluated: Sequence[str]) -> RunExports:
        """Builds the exporter, with a copy of the model in this process."""
        if self.proto.export_config.exporter_type == "none":
            return super()._run_exports(evaluated)
        copy = Recommender(self.proto, self.plan, int(self.proto.train_config.seed))

        def refresh() -> None:
            for here, there in zip(copy.banks, self.recommender.banks, strict=True):
                here.variable.assign(there.variable.numpy())
            for name, variable in copy.store.variables_by_name.items():
                variable.assign(self.recommender.store.variables_by_name[name].numpy())

        return RunExports(self.config, self.folder, copy, self.store, evaluated, refresh)


class _ServerEvaluator(Evaluator):
    """Runs the model on workers, several batches ahead."""

    def __init__(self, recommender: Recommender, feed: Feed, coordinator: Coordinator, workers: int) -> None:
        super().__init__(recommender, feed)
        self._coordinator, self._ahead = coordinator, 2 * workers

    def _outputs(self, batches: Iterable[PackedBatch], turns: Turns) -> Iterator[EvalOutput]:
        begun: collections.deque[tuple[PackedBatch, Any]] = collections.deque()
        for batch in batches:
            begun.append((batch, self._coordinator.schedule(self._evaluate, self._feed.stack([batch]))))
            if len(begun) > self._ahead:
                yield self._output(*begun.popleft())
        while begun:
            yield self._output(*begun.popleft())

    def _output(self, batch: PackedBatch, scheduled: Any) -> EvalOutput:
        return EvalOutput(batch, *self._coordinator.fetch(scheduled))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
