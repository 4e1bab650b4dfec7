"""Finds the rows of ids in tables without a fixed size, in standard TensorFlow operations."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.banks.dynamic import DynamicBank


class KeyTable(tf.Module):
    """The sorted keys of a table's ids and their rows; a key is found by binary search.

    They are variables, because a graph can't contain more than 2 GB of constants.
    """

    def __init__(self, bank: DynamicBank, table: int) -> None:
        """Takes the ids of table number `table`; `refresh` takes them again."""
        super().__init__()
        self._bank, self._table = bank, table
        self._keys = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False)
        self._rows = tf.Variable(tf.zeros([0], tf.int32), shape=[None], trainable=False)
        rules = bank.layout.tables[table].rules
        assert rules is not None
        self._filters = rules.filter_freq > 0
        self._initial_rows = bank.layout.tables[table].rows
        self._first = bank.layout.offsets[table]
        self.refresh()

    def refresh(self) -> None:
        """Takes the current ids."""
        keys, _, _, rows = self._bank.ids(self._table, True)
        # The last entry is never found; a search among no keys has no result.
        self._keys.assign(tf.concat([keys, [tf.int64.max]], axis=0))
        self._rows.assign(tf.concat([rows, [-1]], axis=0))

    def rows(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of ids int32 or int64 [...], int32 [...]; -1 for none."""
        flat = tf.cast(tf.reshape(ids, [-1]), tf.int64)
        keys = self._keys.read_value()
        places = tf.searchsorted(keys, flat)
        found = tf.equal(tf.gather(keys, places), flat)
        if self._filters:
            unknown = tf.fill(tf.shape(flat), -1)
        else:
            unknown = tf.cast(tf.maximum(flat, 0) % self._initial_rows, tf.int32) + self._first
        rows = tf.where(found, tf.gather(self._rows.read_value(), places), unknown)
        return tf.reshape(tf.where(flat < 0, -1, rows), tf.shape(ids))
