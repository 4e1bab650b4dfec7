"""A copy of a model on one rank, for exporting a model whose tables are split over the ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.parts import gather_parts
from hvdrec.config import Config
from hvdrec.layers import memory
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.step.state import model_entries

#: Memory for the tables, and as much again that TensorFlow needs to write them.
_TIMES_THE_TABLES = 2


class Gathered:
    """Gathers the rows of all ranks on rank 0, for one export at a time."""

    def __init__(self, config: Config, recommender: Recommender, group: ReplicaGroup) -> None:
        """Wraps a model whose tables are split."""
        self._config, self._recommender, self._group = config, recommender, group
        self._copy: Recommender | None = None

    def need_memory(self) -> None:
        """Checks that this process can hold all tables.

        Raises:
            ConfigError: It can't.
        """
        tables = sum(4 * bank.layout.rows * bank.layout.dim for bank in self._recommender.banks)
        place = self._config.where("export_config.exporter_type")
        memory.need(
            _TIMES_THE_TABLES * tables,
            f'{place}: an exported model is whole ("none" leaves it to hvdrec.export, where the tables fit): '
            f"writing tables of {memory.shown(tables)}",
        )

    def gather(self, wanted: bool) -> None:
        """Makes the copy if rank 0 wants one (collective)."""
        if not self._group.gather_objects(wanted)[0]:
            return
        copy = run_on_all_ranks(self._group, self._new)
        entries = {e.name: e for e in model_entries(copy)} if copy is not None else {}

        def put(name: str, first: int, last: int, values: np.ndarray) -> None:
            _write_rows(entries[name], first, last, values)

        gather_parts(model_entries(self._recommender), self._group, put)
        self._copy = copy

    def take(self) -> Recommender:
        """Returns the copy, and no longer keeps it."""
        copy, self._copy = self._copy, None
        if copy is None:
            raise RuntimeError("nothing was gathered")
        return copy

    def _new(self) -> Recommender | None:
        """Creates a model on rank 0 with the values that all ranks share."""
        if self._group.rank != 0:
            return None
        model, proto = self._recommender, self._config.proto
        copy = Recommender(proto, model.plan, int(proto.train_config.seed))
        whole: Sequence[tuple[SavedTensor, SavedTensor]] = list(
            zip(model_entries(copy), model_entries(model), strict=True)
        )
        for here, there in whole:
            if there.split is None and here.rows is not None:
                _write_rows(here, 0, here.shape[0], there.variable.numpy()[slice(*there.rows or (0, None))])
            elif there.split is None:
                here.variable.assign(there.variable.read_value())
        return copy


def _write_rows(entry: SavedTensor, first: int, last: int, values: np.ndarray) -> None:
    """Replaces rows [first, last) of a table within its bank, in place."""
    offset = (entry.rows or (0, 0))[0]
    variable = entry.variable
    if not isinstance(variable, tf.Variable):
        raise TypeError(f"{entry.name} doesn't live in one variable")
    tf.raw_ops.ResourceScatterUpdate(
        resource=variable.handle, indices=np.arange(offset + first, offset + last), updates=values
    )
