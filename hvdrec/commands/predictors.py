"""Predictors of `hvdrec.predict`: a checkpoint or an exported model."""

from __future__ import annotations

import abc
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hvdrec.commands.restored import restore, share
from hvdrec.config import Config
from hvdrec.config.flags import newest_version
from hvdrec.data.batch import PackedBatch, RowBlock
from hvdrec.data.rows import FieldLike
from hvdrec.errors import UserError
from hvdrec.features import Packer, build_plan
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.serving.loaded import LoadedModel
from hvdrec.storage import is_remote
from hvdrec.storage.mirror import Mirror
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.run.turns import Turns
from hvdrec.trainer.step.feed import Feed
from hvdrec.trainer.watch.evaluator import Evaluator


class Predictor(abc.ABC):
    """Predicts for blocks of rows.

    Attributes:
        fields: The columns that it reads.
    """

    fields: Sequence[FieldLike]

    def share(self) -> None:  # noqa: B027
        """Shares what rank 0 has read with every rank (collective)."""

    def end(self) -> None:  # noqa: B027
        """Called after this rank's batches are predicted, or after a failure (collective)."""

    @abc.abstractmethod
    def pack(self, block: RowBlock) -> PackedBatch:
        """Prepares a block, in a separate thread; the batch keeps the columns as read."""

    @abc.abstractmethod
    def predict(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """EasyRec's prediction tensors by name."""


class FromCheckpoint(Predictor):
    """The model of a config, with the weights of a checkpoint."""

    def __init__(
        self, config: Config, group: ReplicaGroup, folder: RunFolder, checkpoint: str | None
    ) -> None:
        """Restores the checkpoint; see `restore`."""
        self._job, _ = restore(config, group, checkpoint, folder)
        plan = self._job.plan.for_prediction()
        self.fields = plan.fields
        self._packer = Packer(plan, ignore_error=config.proto.data_config.ignore_error)
        feed = Feed(plan, self._job.rows)
        evaluator = Evaluator(self._job.recommender, feed)
        meets = self._job.recommender.strategy.meets
        self._turns = Turns(group if meets else None, evaluator.predict, feed.empty)

    def share(self) -> None:
        """Shares the weights: only rank 0 needs access to the checkpoint."""
        share(self._job)

    def pack(self, block: RowBlock) -> PackedBatch:
        """Packs a block as for evaluation, without labels."""
        return self._packer.pack_block(block, keep_raw=True)

    def predict(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """As in evaluation."""
        return self._turns.take(batch)

    def end(self) -> None:
        """Takes part in the others' forward passes, which need this rank's rows, until they are finished."""
        self._turns.end()


class FromSavedModel(Predictor):
    """An exported model."""

    def __init__(self, proto: Any, folder: str) -> None:
        """Loads the model.

        Args:
            proto: The config it was exported with.
            folder: The model's folder, or the folder with its versions.
        """
        version = newest_version(folder)
        if is_remote(version):
            with tempfile.TemporaryDirectory(prefix="hvdrec-model-") as here:
                Mirror(Path(here), version, lambda name: True).pull(lambda name: True)
                self._model = LoadedModel(here, proto)
        else:
            self._model = LoadedModel(version, proto)
        self.fields = self._model.inputs
        # Rows are checked by the rules of training, no matter who exported the model.
        plan = build_plan(proto).for_prediction()
        there = {field.name for field in self.fields}
        checks = there.issuperset(field.name for field in plan.fields)
        self._packer = Packer(plan, proto.data_config.ignore_error) if checks else None

    def pack(self, block: RowBlock) -> PackedBatch:
        """Checks the cells, and returns the columns of valid rows unchanged."""
        if self._packer is not None:
            return dataclasses.replace(self._packer.pack_block(block, keep_raw=True), arrays={})
        return PackedBatch(block.columns.num_rows, {}, block.position, raw=block.columns, locate=block.locate)

    def predict(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """The outputs of the model's signature."""
        if batch.raw is None or batch.locate is None:
            raise UserError("the rows' columns were not kept")
        return self._model.predict(batch.raw, batch.locate)
