"""Finds the rows of ids in tables without a fixed size, in standard TensorFlow operations."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.banks.dynamic import DynamicBank

#: The entry of no id.
NO_ID = tf.int64.max
#: Entries are multiples of so many, so that TensorFlow divides the variable without copying it.
_ALIGNED = 8


class KeyTable(tf.Module):
    """The sorted keys of a table's ids and their rows; a key is found by binary search.

    They are a variable, because a graph can't contain more than 2 GB of constants, and only one, because a
    request must not read the keys before a change and the rows after it.
    """

    def __init__(self, bank: DynamicBank, table: int) -> None:
        """Takes the ids of table number `table`; `refresh` takes them again."""
        super().__init__()
        self.bank, self._table = bank, table
        self._ids = tf.Variable(tf.zeros([2, 0], tf.int64), shape=[2, None], trainable=False)
        rules = bank.layout.tables[table].rules
        assert rules is not None
        self._filters = rules.filter_freq > 0
        self._initial_rows = bank.layout.tables[table].rows
        self._first = bank.layout.offsets[table]
        self.refresh()

    def refresh(self) -> None:
        """Takes the current ids."""
        keys, _, _, rows = self.bank.ids(self._table, True)
        self.put(tf.stack([tf.constant(keys, tf.int64), tf.cast(rows, tf.int64)]))

    def put(self, ids: tf.Tensor) -> None:
        """Replaces the ids: int64 [2, n], ascending keys and their rows."""
        # Without an entry of no id, a search among no keys would have no result.
        more = _ALIGNED - tf.shape(ids)[1] % _ALIGNED
        self._ids.assign(tf.concat([ids, tf.fill([2, more], NO_ID)], axis=1))

    def entries(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Keys, ascending, and their rows, both int64 [n]; the last keys are `NO_ID`."""
        keys, rows = tf.unstack(self._ids.read_value())
        return keys, rows

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of ids int32 or int64 [...], int32 [...]; -1 for none."""
        flat = tf.cast(tf.reshape(ids, [-1]), tf.int64)
        keys, rows = self.entries()
        places = tf.searchsorted(keys, flat)
        found = tf.equal(tf.gather(keys, places), flat)
        if self._filters:
            unknown = tf.fill(tf.shape(flat), -1)
        else:
            unknown = tf.cast(tf.maximum(flat, 0) % self._initial_rows, tf.int32) + self._first
        # The row of no id isn't an int32.
        known = tf.cast(tf.where(found, tf.gather(rows, places), -1), tf.int32)
        return tf.reshape(tf.where(flat < 0, -1, tf.where(found, known, unknown)), tf.shape(ids))
