"""Changes tables without a fixed size in an exported model, in standard TensorFlow operations.

Others read the model meanwhile, so the order of assignments matters: a reader has either the ids before a
change or those after it, and the rows of both are there.
"""

from __future__ import annotations

import tensorflow as tf

from hvdrec.checkpoint.deltas import REMOVES_ALL
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.key_table import NO_ID, KeyTable


class FreeRows(tf.Module):
    """The rows of an exported bank that no id has."""

    def __init__(self, bank: DynamicBank) -> None:
        """Takes the rows after those of ids; `refresh` takes them again."""
        super().__init__()
        self._bank = bank
        self._end = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._free = tf.Variable(tf.zeros([0], tf.int32), shape=[None], trainable=False)
        self.refresh()

    def refresh(self) -> None:
        """Takes the current state of the bank."""
        self._end.assign(self._bank.map.end)
        self._free.assign(tf.zeros([0], tf.int32))

    def take(self, count: tf.Tensor) -> tf.Tensor:
        """Takes so many rows, int32 [count], and makes room for them."""
        free, first, variable = self._free.read_value(), self._end.read_value(), self._bank.variable
        reused = tf.minimum(count, tf.size(free))
        end = first + count - reused
        held = tf.shape(variable)[0]

        def grow() -> tf.Tensor:
            room = tf.zeros([tf.maximum(end - held, held), self._bank.layout.dim])
            return tf.identity(variable.assign(tf.concat([variable.read_value(), room], axis=0))[:0, 0])

        tf.cond(end > held, grow, lambda: tf.zeros([0]))
        self._free.assign(free[reused:])
        self._end.assign(end)
        return tf.concat([free[:reused], tf.range(first, end)], axis=0)

    def give(self, rows: tf.Tensor) -> None:
        """Returns rows int32 [n], which later calls of `take` may take."""
        self._free.assign(tf.concat([self._free.read_value(), rows], axis=0))


def change_ids(table: KeyTable, free: FreeRows, keys: tf.Tensor, values: tf.Tensor) -> None:
    """Applies a message about a table.

    Args:
        table: Its ids.
        free: The rows of its bank that no id has.
        keys: int64 [n], ascending, as in messages: ids, and `~id` for ids to remove.
        values: float32 [n, dim].
    """
    ascending = tf.reduce_all(keys[1:] > keys[:-1]) & tf.reduce_all(keys < NO_ID)
    with tf.control_dependencies([tf.debugging.Assert(ascending, ["keys are not ascending ids", keys])]):
        keys = tf.identity(keys)
    is_put = keys >= 0
    added, values = tf.boolean_mask(keys, is_put), tf.boolean_mask(values, is_put)
    removed = tf.bitwise.invert(tf.reverse(tf.boolean_mask(keys, ~is_put), [0]))

    before, rows = table.entries()
    is_id = before < NO_ID
    leaving = tf.concat([removed, [NO_ID]], axis=0)
    leaves = tf.equal(tf.gather(leaving, tf.searchsorted(leaving, before)), before)
    stays = is_id & ~leaves & tf.reduce_all(keys > REMOVES_ALL)
    places = tf.searchsorted(before, added)
    is_old = tf.equal(tf.gather(before, places), added) & tf.gather(stays, places)
    new_keys = tf.boolean_mask(added, ~is_old)
    new_rows = free.take(tf.size(new_keys))
    # The place of a new key among the new ones, after all old ones.
    new_places = tf.size(before) + tf.cumsum(tf.cast(~is_old, tf.int32), exclusive=True)
    all_rows = tf.concat([tf.cast(tf.where(is_id, rows, 0), tf.int32), new_rows], axis=0)
    written = tf.raw_ops.ResourceScatterUpdate(
        resource=table.bank.variable.handle,
        indices=tf.gather(all_rows, tf.where(is_old, places, new_places)),
        updates=values,
    )
    kept = tf.boolean_mask(tf.stack([before, rows]), stays, axis=1)
    ids = tf.concat([kept, tf.stack([new_keys, tf.cast(new_rows, tf.int64)])], axis=1)
    with tf.control_dependencies([written]):
        table.put(tf.gather(ids, tf.argsort(ids[0]), axis=1))
    free.give(tf.cast(tf.boolean_mask(rows, is_id & ~stays), tf.int32))
