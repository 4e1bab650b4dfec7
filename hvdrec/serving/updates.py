"""The signatures by which a service changes an exported model in memory (`incr_save_config`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from hvdrec.checkpoint.deltas import ANY_ROWS, Variables
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.key_table import KeyTable
from hvdrec.layers.banks.strategy import Bank
from hvdrec.models.recommender import Recommender
from hvdrec.serving.id_updates import FreeRows, change_ids

#: The names of the signatures.
DENSE, ROWS = "incr_update_dense", "incr_update_rows"


class Updates(tf.Module):
    """Two functions with standard operations; ids are those of the messages (`hvdrec.checkpoint.deltas`).

    Both return ``updated``, int32 scalar: the number of values or rows that they replaced.
    """

    def __init__(self, recommender: Recommender, ids: Mapping[tuple[int, int], KeyTable]) -> None:
        """Builds them for a model; nothing is traced before the first use.

        Args:
            recommender: The model.
            ids: The ids of tables without a fixed size, by bank and table.
        """
        super().__init__()
        by_name = recommender.store.variables_by_name
        self._dense = [by_name[name] for name, _ in variables_of(recommender).dense]
        free = {
            b: FreeRows(bank) for b, bank in enumerate(recommender.banks) if isinstance(bank, DynamicBank)
        }
        # An attribute, because TensorFlow saves the variables that it finds so.
        self._free = list(free.values())
        self._tables = [
            (bank, first, table.rows, ids.get((b, t)), free.get(b))
            for b, bank in enumerate(recommender.banks)
            for t, (table, first) in enumerate(zip(bank.layout.tables, bank.layout.offsets, strict=True))
        ]
        number, values = tf.TensorSpec([], tf.int32, "id"), tf.TensorSpec([None], tf.float32, "values")
        self._replace_dense = tf.function(self._assign, input_signature=[number, values], autograph=False)
        self._replace_rows = tf.function(
            self._scatter,
            input_signature=[number, tf.TensorSpec([None], tf.int64, "keys"), values],
            autograph=False,
        )

    def signatures(self) -> dict[str, Callable[..., object]]:
        """The concrete functions, by the names of their signatures."""
        found = {DENSE: self._replace_dense} if self._dense else {}
        if self._tables:
            found[ROWS] = self._replace_rows
        return {name: function.get_concrete_function() for name, function in found.items()}

    def refresh(self) -> None:
        """Takes what isn't read from the model's variables: the free rows of tables without a fixed size."""
        for free in self._free:
            free.refresh()

    def _assign(self, number: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Replaces variable `number` by `values`, float32 [its size]."""

        def replace(variable: tf.Variable) -> Callable[[], tf.Tensor]:
            def work() -> tf.Tensor:
                variable.assign(tf.reshape(values, variable.shape))
                return tf.size(values)

            return work

        return {"updated": _choose(number, [replace(v) for v in self._dense], "variable")}

    def _scatter(self, number: tf.Tensor, keys: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
        """Replaces rows `keys`, int64 [n], of table `number` by `values`, float32 [n * its width]."""

        def replace(
            bank: Bank, first: int, rows: int, ids: KeyTable | None, free: FreeRows | None
        ) -> Callable[[], tf.Tensor]:
            def change() -> tf.Tensor:
                assert ids is not None
                assert free is not None
                change_ids(ids, free, keys, tf.reshape(values, [-1, bank.layout.dim]))
                return tf.size(keys)

            def work() -> tf.Tensor:
                inside = tf.reduce_all((keys >= 0) & (keys < rows))
                with tf.control_dependencies([tf.debugging.Assert(inside, ["a key is not a row", keys])]):
                    found = tf.reshape(values, [-1, bank.layout.dim])
                variable = bank.parts[0]
                tf.raw_ops.ResourceScatterUpdate(
                    resource=variable.handle, indices=keys + first, updates=found
                )
                return tf.size(keys)

            return work if ids is None else change

        return {"updated": _choose(number, [replace(*table) for table in self._tables], "table")}


def _choose(number: tf.Tensor, branches: Sequence[Callable[[], tf.Tensor]], what: str) -> tf.Tensor:
    known = (number >= 0) & (number < len(branches))
    with tf.control_dependencies([tf.debugging.Assert(known, [f"there is no {what}", number])]):
        return tf.switch_case(tf.identity(number), branches)


def variables_of(recommender: Recommender) -> Variables:
    """The variables of a model, in the order of their ids in messages."""
    dense = [(n, tuple(v.shape)) for n, v in sorted(recommender.store.variables_by_name.items())]
    tables = [
        (table.name, (ANY_ROWS if isinstance(bank, DynamicBank) else table.rows, bank.layout.dim))
        for bank in recommender.banks
        for table in bank.layout.tables
    ]
    return Variables(tuple(dense), tuple(tables))
