"""The numbers of layers over two texts: normalized, in buckets, embedded."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.backbone.text import Evaluator, parse_function
from hvdrec.layers.expressions import TensorOperations
from hvdrec.layers.variables import VariableStore


class Results(tf.Module):
    """The parameters `RESULTS` of `hvdrec.config.layers.text_results`."""

    def __init__(
        self,
        store: VariableStore,
        table: str,
        numbers: int,
        *,
        normalize_fn: str | None,
        boundaries: Sequence[float],
        embedding_dim: int,
    ) -> None:
        """Creates the table of embeddings, if there are any.

        Args:
            store: Creates the table.
            table: Its name.
            numbers: The numbers per row, each with its own part of the table.
            normalize_fn: The function applied to them.
            boundaries: The boundaries of buckets.
            embedding_dim: The width of buckets' embeddings; 0 for none.
        """
        super().__init__()
        self._function = parse_function(normalize_fn) if normalize_fn else None
        self._boundaries = list(boundaries)
        self._numbers, self._buckets = numbers, len(boundaries) + 1
        self._table: tf.Variable | None = None
        self.width = numbers * (embedding_dim or 1)
        if embedding_dim:
            self._table = store.create(table, (self._buckets * numbers, embedding_dim))

    def __call__(self, found: tf.Tensor) -> tf.Tensor:
        """Maps float32 [B, numbers] to float32 [B, width]."""
        if self._function is not None:
            found = Evaluator(TensorOperations())(self._function, found)
        if not self._boundaries:
            return found
        buckets = tf.raw_ops.Bucketize(input=found, boundaries=self._boundaries)
        if self._table is None:
            return tf.cast(buckets, tf.float32)
        rows = buckets + tf.range(self._numbers) * self._buckets
        return tf.reshape(tf.gather(self._table, rows), [-1, self.width])
