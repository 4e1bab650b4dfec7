"""The values of a checkpoint at one moment."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor

#: From this many bytes on, training waits until the values are written, so that they aren't held twice.
LARGE = 1 << 30


class Snapshot(Mapping[str, tf.Tensor]):
    """The values of entries at one moment, on the host, unaffected by later updates.

    On a CPU nothing is copied until a variable is updated: TensorFlow then copies a buffer that is still
    referenced. The variables of a large snapshot must therefore not be updated before it is released, or
    they are held twice.

    Attributes:
        released: Set when the values have been written or discarded.
        released_at: The time of the release, by `time.monotonic`.
    """

    def __init__(self, entries: Sequence[SavedTensor]) -> None:
        """Takes the values; a table is sliced from its bank when it is read.

        Args:
            entries: The entries; those that are split over the ranks are skipped.
        """
        entries = [entry for entry in entries if entry.split is None]
        self._entries = {entry.name: entry for entry in entries}
        self._whole: dict[int, tf.Tensor] = {}
        with tf.device("/CPU:0"):
            for entry in entries:
                if id(entry.variable) not in self._whole:
                    self._whole[id(entry.variable)] = tf.identity(_now(entry.variable))
        self.released, self.released_at = threading.Event(), 0.0

    @property
    def is_large(self) -> bool:
        """Whether its values should not be held twice."""
        return sum(v.dtype.size * math.prod(v.shape) for v in self._whole.values()) >= LARGE

    def release(self) -> None:
        """Releases the values; nothing can be read afterwards."""
        if not self.released.is_set():
            self._whole, self.released_at = {}, time.monotonic()
            self.released.set()

    def __getitem__(self, name: str) -> tf.Tensor:
        entry = self._entries[name]
        value = self._whole[id(entry.variable)]
        if entry.rows is None:
            return value
        with tf.device("/CPU:0"):
            return value[entry.rows[0] : entry.rows[1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _now(variable: Any) -> tf.Tensor:
    """A variable's value; TensorFlow copies that of a table whose rows were looked up, unless told not to."""
    if isinstance(variable, tf.Variable) and hasattr(variable, "read_value_no_copy"):
        return variable.read_value_no_copy()
    return variable.read_value()
