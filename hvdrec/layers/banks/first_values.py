"""Initial values of tables: a function of seed, table name and row, so any rows can be computed alone."""

from __future__ import annotations

import concurrent.futures
import os
import zlib

import numpy as np

from hvdrec.layers.banks.strategy import BankLayout, BankTable

#: The rows drawn from one stream of random numbers; each block has its own stream.
BLOCK_ROWS = 1024


def first_rows(layout: BankLayout, seed: int) -> np.ndarray:
    """The initial values of a whole bank, float32 [rows, dim]."""
    found = np.empty((layout.rows, layout.dim), np.float32)
    for table, offset in zip(layout.tables, layout.offsets, strict=True):
        table_rows(table, layout.dim, seed, 0, table.rows, found[offset : offset + table.rows])
    return found


def table_rows(
    table: BankTable, dim: int, seed: int, first: int, last: int, out: np.ndarray | None = None
) -> np.ndarray:
    """The initial values of some rows of a table, independent of other rows.

    Rows are drawn in blocks of `BLOCK_ROWS`, from Philox with seed and name as key and the block's number in
    the counter (Salmon et al. 2011).

    Args:
        table: The table.
        dim: Its width.
        seed: `train_config.seed`.
        first: The first row.
        last: The row after the last.
        out: float32 [last - first, dim], the output array.

    Returns:
        float32 [last - first, dim].
    """
    values = np.empty((last - first, dim), np.float32) if out is None else out

    def make(block: int) -> None:
        start, end = block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS
        rng = np.random.Generator(
            np.random.Philox(key=[seed, zlib.crc32(table.name.encode())], counter=[0, 0, block, 1])
        )
        # Draw the whole block, so that a row's values don't depend on the number of rows.
        made = table.initializer.draw((BLOCK_ROWS, dim), (table.rows, dim), start * dim, rng)
        low, high = max(first, start), min(last, end)
        values[low - first : high - first] = made[low - start : high - start]

    blocks = range(first // BLOCK_ROWS, -(-last // BLOCK_ROWS)) if last > first else range(0)
    if len(blocks) <= 1:
        for block in blocks:
            make(block)
        return values
    # numpy releases the GIL while it draws.
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(make, blocks))
    return values
