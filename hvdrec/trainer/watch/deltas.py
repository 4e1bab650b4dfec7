"""Writes what has changed since the last checkpoint, for services that update a model in memory
(`incr_save_config`)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from hvdrec.checkpoint.deltas import (
    DENSE,
    SPARSE,
    UPDATE_FILE,
    VARIABLES_FILE,
    DeltaFolder,
    Rows,
    Variables,
    encode_dense,
    encode_rows,
    plain_config,
)
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError, StorageError
from hvdrec.layers.banks.split import SplitBank
from hvdrec.models.recommender import Recommender
from hvdrec.optim.base import Optimizer
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.serving.updates import variables_of
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.watch.changes import IdChanges, RowChanges, changes_of
from hvdrec.trainer.watch.delta_topic import DeltaTopic

_log = logging.getLogger(__name__)
#: What a checkpoint keeps: whether all rows that changed before it have been delivered.
KEPT = "incr_save"


class Sink(Protocol):
    """Takes the messages (rank 0)."""

    @property
    def name(self) -> str:
        """Where the messages go."""

    def prepare(self, variables: Variables) -> None:
        """Called once, before the first step."""

    def send_dense(self, step: int, values: Sequence[tuple[int, np.ndarray]], full_save: int) -> None:
        """Delivers variables outside the tables, with their ids."""

    def send_rows(self, step: int, tables: Sequence[tuple[int, Rows]], full_save: int) -> None:
        """Delivers rows of tables, with the tables' ids."""

    def saved(self, oldest: int) -> None:
        """Called after a full save, with the oldest checkpoint that a run can resume from."""


class _ToFolder:
    def __init__(self, folder: DeltaFolder) -> None:
        self._folder = folder

    @property
    def name(self) -> str:
        return str(self._folder.path)

    def prepare(self, variables: Variables) -> None:
        pass

    def send_dense(self, step: int, values: Sequence[tuple[int, np.ndarray]], full_save: int) -> None:
        self._folder.write(DENSE, step, encode_dense(step, values), full_save)

    def send_rows(self, step: int, tables: Sequence[tuple[int, Rows]], full_save: int) -> None:
        self._folder.write(SPARSE, step, encode_rows(step, tables), full_save)

    def saved(self, oldest: int) -> None:
        pass


class _Table(NamedTuple):
    """A table: its bank, and its number there."""

    bank: int
    number: int


class Deltas:
    """The messages of a run; every method is collective.

    Attributes:
        dense_steps: Steps between messages with the variables outside the tables; 0 = by seconds or never.
        sparse_steps: Steps between messages with rows of tables.
    """

    def __init__(
        self,
        config: Any,
        recommender: Recommender,
        optimizer: Optimizer,
        group: ReplicaGroup,
        store: Store,
        places: DeltaPlaces,
        kept: Mapping[str, Any],
        resumed: bool,
    ) -> None:
        """Copies the tables, to compare with them.

        Args:
            config: The `IncrementSaveConfig`.
            recommender: The model, with the values that the run starts from.
            optimizer: Its optimizer.
            group: The ranks.
            store: The checkpoints.
            places: Where messages go.
            kept: What the checkpoint that the run continues from kept.
            resumed: Whether there is such a checkpoint.
        """
        self.dense_steps, self.sparse_steps = int(config.dense_save_steps), int(config.sparse_save_steps)
        self._seconds = {DENSE: float(config.dense_save_secs), SPARSE: float(config.sparse_save_secs)}
        self._has = {
            DENSE: bool(self.dense_steps or config.dense_save_secs),
            SPARSE: bool(self.sparse_steps or config.sparse_save_secs),
        }
        self._recommender, self._optimizer, self._group, self._store = recommender, optimizer, group, store
        self._places, self._kept, self._resumed = places, kept.get(KEPT), resumed
        self.variables = variables_of(recommender)
        self._tables = [
            _Table(b, number)
            for b, bank in enumerate(recommender.banks)
            for number in range(len(bank.layout.tables))
        ]
        self._changes: dict[int, RowChanges | IdChanges] = {}
        self._last: dict[int, int] = {}
        self._times = dict.fromkeys((DENSE, SPARSE), time.monotonic())
        self._saved_step = -1
        self._delivered = self._dense_delivered = True

    def begin(self, step: int) -> None:
        """Called before the first step: withdraws messages of a killed run after `step`.

        Raises:
            CheckpointError: The folder can't be written.
            ConfigError: The copies of the tables don't fit in memory.
        """
        self._last = dict.fromkeys((DENSE, SPARSE), step)

        def prepare() -> dict[int, np.ndarray] | None:
            if self._group.rank != 0:
                return {}
            folder, kept = self._places.folder, self._kept
            # Without a record, a run without deltas came between; it may have changed any row. Services that
            # read at another place have not seen the earlier messages.
            known = self._places.knows_all and (kept is not None or not folder.steps())
            known = known and (kept is None or kept.get("to", self._places.name) == self._places.name)
            delivered = kept is None or bool(kept["delivered"])
            found = folder.claim(self.variables, step)
            return found if not self._resumed or (known and delivered) else None

        owed = self._group.gather_objects(run_on_all_ranks(self._group, prepare))[0]
        again = {self._tables[number].bank for number in owed or ()}

        def copy() -> None:
            for b, bank in enumerate(self._recommender.banks):
                # Rows of a bank that is frozen now may have changed in the run that was killed.
                needed = bank.layout.trained or owed is None or b in again
                is_split = isinstance(bank, SplitBank)
                if needed and (self._group.rank == 0 or is_split):
                    self._changes[b] = changes_of(bank, self._group.local_size if is_split else 1)

        with self._optimizer.averaged():
            run_on_all_ranks(self._group, copy)
        for b, changes in self._changes.items():
            if owed is None:
                changes.owe_all()
                continue
            for number, keys in owed.items():
                if self._tables[number].bank == b:
                    changes.owe(self._tables[number].number, keys)
        self._delivered = self._dense_delivered = owed is not None and not owed

    def asked(self) -> tuple[bool, bool]:
        """Whether `dense_save_secs` and `sparse_save_secs` have passed (rank 0)."""
        passed = {kind: time.monotonic() - last for kind, last in self._times.items()}
        dense, sparse = (0 < self._seconds[kind] <= passed[kind] for kind in (DENSE, SPARSE))
        return dense, sparse

    def due(self, step: int) -> tuple[bool, bool]:
        """Whether messages with dense variables and with rows are due after `step` steps."""
        return (
            self.dense_steps > 0 and step % self.dense_steps == 0,
            self.sparse_steps > 0 and step % self.sparse_steps == 0,
        )

    def emit(self, step: int, dense: bool, sparse: bool) -> None:
        """Sends messages, unless this step's were sent already.

        The optimizer must be settled. A message that can't be written, or that Kafka doesn't take, is a
        warning: the next one includes its rows.
        """
        self._emit(step, dense, sparse, last=False)

    def full_save(self, step: int) -> None:
        """Called before each checkpoint: sends what has changed, so that all messages up to a checkpoint
        together give its values. A checkpoint is saved even if that isn't possible; see `emit`.

        Raises:
            CheckpointError: Checkpoints can't be listed, or old messages not removed.
        """
        self._emit(step, True, True, last=False)
        for changes in self._changes.values():
            changes.saved(self._delivered)
        self._saved_step = step

        def saved() -> None:
            if self._places.sink is not None:
                self._places.sink.saved(min(self._store.steps(), default=-1))

        run_on_all_ranks(self._group, saved)

    def end(self, step: int) -> None:
        """Called at the end of training.

        Raises:
            StorageError: There are messages that Kafka doesn't take.
            CheckpointError: There are messages that can't be written.
        """
        if not self._delivered or not self._dense_delivered:
            self._emit(step, not self._dense_delivered, not self._delivered, last=True)
        # For another loop of this run (`--fit_on_eval`).
        self._kept, self._resumed = self.kept()[KEPT], True

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {KEPT: {"delivered": self._delivered, "to": self._places.name}}

    def _emit(self, step: int, dense: bool, sparse: bool, last: bool) -> None:
        dense = dense and self._has[DENSE] and (self._last[DENSE] != step or last)
        sparse = sparse and self._has[SPARSE] and (self._last[SPARSE] != step or last)
        if not dense and not sparse:
            return
        with self._optimizer.averaged():
            values = self._dense() if dense else []
            if sparse:
                run_on_all_ranks(self._group, self._look)
        if dense:

            def send_dense(sink: Sink) -> bool:
                sink.send_dense(step, values, self._saved_step)
                return True

            self._dense_delivered = self._attempt(DENSE, step, send_dense, last)
        if sparse:
            tables = self._rows()

            def send(sink: Sink) -> bool:
                if tables:
                    sink.send_rows(step, tables, self._saved_step)
                self._places.folder.forget()
                return bool(tables)

            self._delivered = self._attempt(SPARSE, step, send, last)
            if self._delivered:
                for changes in self._changes.values():
                    changes.delivered()

    def _look(self) -> None:
        for changes in self._changes.values():
            changes.look()

    def _attempt(self, kind: int, step: int, send: Callable[[Sink], bool], last: bool) -> bool:
        """Sends on rank 0; returns on every rank whether it was delivered."""
        self._last[kind], self._times[kind] = step, time.monotonic()

        def work() -> bool:
            if self._group.rank != 0:
                return True
            assert self._places.sink is not None
            began = time.monotonic()
            try:
                sent = send(self._places.sink)
            except (StorageError, CheckpointError) as error:
                if last:
                    raise
                _log.warning("%s; the next delta will contain these changes", error)
                return False
            if sent:
                what = "rows of tables" if kind == SPARSE else "dense variables"
                seconds = time.monotonic() - began
                _log.info("step %d: %s sent to %s (%.3f s)", step, what, self._places.sink.name, seconds)
            return True

        return self._group.gather_objects(run_on_all_ranks(self._group, work))[0]

    def _dense(self) -> list[tuple[int, np.ndarray]]:
        if self._group.rank != 0:
            return []
        by_name = self._recommender.store.variables_by_name
        return [(i, by_name[name].numpy()) for i, (name, _) in enumerate(self.variables.dense)]

    def _rows(self) -> list[tuple[int, Rows]]:
        """The rows for a message, of all ranks, by table."""
        parts = {b: changes.rows() for b, changes in self._changes.items() if isinstance(changes, RowChanges)}
        split = [b for b, bank in enumerate(self._recommender.banks) if isinstance(bank, SplitBank)]
        if split:
            everyone = self._group.gather_objects({b: parts[b] for b in split if b in parts})
            for b in (b for b in split if b in parts):
                keys = np.concatenate([part[b].keys for part in everyone])
                order = np.argsort(keys, kind="stable")
                values = np.concatenate([part[b].values for part in everyone])
                parts[b] = Rows(keys[order], values[order])
        by_table = {
            b: changes.by_table() if isinstance(changes, IdChanges) else changes.by_table(parts[b])
            for b, changes in self._changes.items()
        }
        found = [
            (i, by_table[table.bank][table.number])
            for i, table in enumerate(self._tables)
            if table.bank in by_table
        ]
        return [(i, rows) for i, rows in found if len(rows.keys)]


class DeltaPlaces:
    """Where the messages of a run go.

    Attributes:
        folder: The messages themselves, or a journal of what was sent to Kafka.
        sink: Takes the messages; None on other ranks than 0.
        knows_all: Whether `folder` has all messages that were sent after a checkpoint.
        name: What tells it from other places, kept in checkpoints.
    """

    def __init__(
        self,
        config: Any,
        model_dir: str,
        is_copy: bool,
        on_rank_0: bool,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Determines the places; nothing is created.

        Args:
            config: The `IncrementSaveConfig`.
            model_dir: The folder with the run's files on this machine.
            is_copy: Whether it is only a working copy of a folder in a store.
            on_rank_0: Whether this process sends.
            stopped: Whether a signal has asked the run to stop; Kafka is then not waited for much longer.
        """
        self.sink: Sink | None = None
        self.knows_all = True
        if config.WhichOneof("incr_update") == "kafka":
            self.folder = DeltaFolder(os.path.join(model_dir, "incr_save"), hidden=True)
            self.knows_all = not is_copy
            self.name = f"kafka {config.kafka.topic}"
            if on_rank_0:
                self.sink = DeltaTopic(config.kafka, self.folder, bool(config.debug_save_update), stopped)
        else:
            self.folder = DeltaFolder(folder_of(config, model_dir))
            self.name = f"fs {config.fs.incr_save_dir}"
            if on_rank_0:
                self.sink = _ToFolder(self.folder)


def folder_of(config: Any, model_dir: str) -> str:
    """The folder that `fs` writes to."""
    folder = str(config.fs.incr_save_dir)
    return os.path.join(model_dir, folder) if config.fs.relative else folder


def delta_assets(proto: Any, recommender: Recommender, step: int, model_dir: str) -> dict[str, str]:
    """What an exported model says about the deltas that it can be updated with, by file name.

    Args:
        proto: The `EasyRecConfig`.
        recommender: The model.
        step: The step of its weights.
        model_dir: The run's.
    """
    config = proto.train_config.incr_save_config
    if not proto.train_config.HasField("incr_save_config"):
        return {}
    texts, variables = {}, variables_of(recommender)
    for name, text in variables.texts().items():
        if name != VARIABLES_FILE:
            texts[name] = text
    where = plain_config(config, os.path.abspath(folder_of(config, model_dir)))
    described = {**where, "global_step": step, **variables.as_json()}
    return {**texts, UPDATE_FILE: json.dumps(described, indent=2) + "\n"}
