"""How the rows of split variables are distributed over the ranks that write or read a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Limits of the bytes that a rank which writes or reads holds at once in addition to its own rows: a fraction
#: of its share, so that the files are neither too large for memory nor too many.
_LEAST_BYTES, _MOST_BYTES, _PORTIONS = 8 << 20, 1 << 30, 128


class Piece(NamedTuple):
    """Rows [first, last) of variable number `item`."""

    item: int
    first: int
    last: int


class Extent(NamedTuple):
    """The size of a variable: its number of rows, and the bytes of a row."""

    rows: int
    row_bytes: int


def rounds(extents: Sequence[Extent], workers: int) -> Iterator[list[list[Piece]]]:
    """The pieces of each worker in each round; every rank computes the same.

    Each worker has one range of rows of each variable, cut so that a round has a bounded number of bytes.

    Args:
        extents: The sizes of the variables.
        workers: The number of workers.
    """
    share = sum(e.rows * e.row_bytes for e in extents) // workers
    most = min(max(_LEAST_BYTES, share // _PORTIONS), _MOST_BYTES)
    each = [_portions(extents, worker, workers, most) for worker in range(workers)]
    while any(done := [next(portions, None) for portions in each]):
        yield [pieces or [] for pieces in done]


def _portions(extents: Sequence[Extent], worker: int, workers: int, most: int) -> Iterator[list[Piece]]:
    portion, held = list[Piece](), 0
    for item, (rows, row_bytes) in enumerate(extents):
        first, end = rows * worker // workers, rows * (worker + 1) // workers
        while first < end:
            last = min(end, first + max(1, (most - held) // row_bytes))
            portion.append(Piece(item, first, last))
            held += (last - first) * row_bytes
            first = last
            if held + row_bytes > most:
                yield portion
                portion, held = [], 0
    if portion:
        yield portion
