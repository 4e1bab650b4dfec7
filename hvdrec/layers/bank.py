"""Embedding banks: all tables of one width in one variable."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.layers.initializers import Initializer
from hvdrec.layers.partitioned import PartitionedVariable
from hvdrec.layers.placement import HERE, Placement
from hvdrec.layers.variables import VariableStore


@dataclasses.dataclass(frozen=True)
class BankTable:
    """One table of a bank: its checkpoint name, its rows and how they start."""

    name: str
    rows: int
    initializer: Initializer


class EmbeddingBank(tf.Module):
    """Tables of one width stacked in one variable [rows, dim], looked up together.

    A step gathers each distinct row once (`touch`); everything else works on those rows. Where
    the rows live stays in here: models only ever ask to have ids looked up.

    Attributes:
        variable: All rows: a variable, or a `PartitionedVariable`.
        parts: The variables they live in.
    """

    def __init__(
        self,
        store: VariableStore,
        index: int,
        dim: int,
        tables: Sequence[BankTable],
        placement: Placement = HERE,
    ) -> None:
        """Makes the variables, each table with the first values that belong to its own name."""
        super().__init__()
        self.dim = dim
        self.tables = tuple(tables)
        self.rows = sum(t.rows for t in tables)
        first = np.empty((self.rows, dim), np.float32)
        offset = 0
        for table in tables:
            first[offset : offset + table.rows] = table.initializer(
                (table.rows, dim), store.generator(table.name)
            )
            offset += table.rows
        name, parts = f"bank_{index}", placement.parts(self.rows, dim)
        if parts == 1:
            self.variable = tf.Variable(first, name=name, dtype=tf.float32)
            self.parts: tuple[tf.Variable, ...] = (self.variable,)
            return
        dealt = enumerate(PartitionedVariable.deal(first, parts))
        self.parts = tuple(tf.Variable(v, name=f"{name}/part_{p}", dtype=tf.float32) for p, v in dealt)
        self.variable = PartitionedVariable(name, self.parts)

    def touch(self, rows: tf.Tensor) -> tf.Tensor:
        """Gathers the distinct rows a batch needs: int32 [U] -> float32 [U, dim]."""
        if isinstance(self.variable, PartitionedVariable):
            return self.variable.gather(rows)
        return tf.gather(self.variable, rows)


def lookup(touched: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Embeddings of positions in `touched`.

    Args:
        touched: float32 [U, D], the rows of `EmbeddingBank.touch`.
        index: int32 of any shape: position plus one, 0 for "no id".

    Returns:
        float32, shape of `index` + [D]; zeros where the index is 0.
    """

    @tf.custom_gradient
    def gather(rows: tf.Tensor) -> tuple[tf.Tensor, object]:
        padded = tf.pad(rows, [[1, 0], [0, 0]])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Index 0 becomes segment -1, which unsorted_segment_sum drops.
            return tf.math.unsorted_segment_sum(
                tf.reshape(upstream, [-1, rows.shape[1]]), tf.reshape(index, [-1]) - 1, tf.shape(rows)[0]
            )

        return tf.gather(padded, index), gradient

    return gather(touched)


def lookup_combined(
    touched: tf.Tensor, index: tf.Tensor, weight: tf.Tensor, segment: tf.Tensor, segments: tf.Tensor
) -> tf.Tensor:
    """Weighted sums of embeddings: multi-valued features.

    Args:
        touched: float32 [U, D].
        index: int32 [N], position plus one.
        weight: float32 [N], the combiner's coefficients.
        segment: int32 [N], ascending: which sum each value belongs to.
        segments: int32 scalar, the number of sums.

    Returns:
        float32 [segments, D]; zeros for a sum without values.
    """
    values = lookup(touched, index) * weight[:, None]
    return tf.math.unsorted_segment_sum(values, segment, segments)
