"""Shared by the tests of the readers: small inputs, and a plain model of the order of rows."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Sequence

from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.files import list_files
from hvdrec.data.order import file_order, mix
from hvdrec.data.rows import Format
from hvdrec.data.source import ReadPlan, RowSource

_MASK = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class Column:
    name: str


def columns(*names: str) -> list[Column]:
    return [Column(name) for name in names]


def write_files(folder: pathlib.Path, sizes: Sequence[int]) -> list[str]:
    """Writes files of rows "<row number>,<file>-<row in file>"; numbers continue over the files."""
    paths = []
    number = itertools.count()
    for i, size in enumerate(sizes):
        path = folder / f"part-{i:03d}.csv"
        path.write_text("".join(f"{next(number)},{i}-{row}\n" for row in range(size)))
        paths.append(str(path))
    return paths


def csv_format(paths: Sequence[str], names: Sequence[str] = ("n", "at"), **options: object) -> CsvFormat:
    return CsvFormat(list_files(paths), columns(*names), list(names), **options)  # type: ignore[arg-type]


def numbers(source: RowSource | Iterable) -> list[list[int]]:
    """The first column of each block, as numbers."""
    return [[int(value) for value in block.columns.column(0).to_pylist()] for block in source]


def read(data: Format, **plan: object) -> list[list[int]]:
    return numbers(RowSource(data, ReadPlan(**plan)))  # type: ignore[arg-type]


def check_order(
    data: Format,
    sizes: Sequence[int],
    batch: int,
    size: int,
    shuffle: bool,
    buffer: int,
    names: Sequence[str],
) -> None:
    """All ranks' blocks of two epochs together are the model's rows, and each row has its origin.

    Args:
        data: Has columns n (row number over all files) and at ("<file>-<row>").
        sizes: Rows of its files.
        batch: Rows of a rank's block.
        size: Number of ranks.
        shuffle: Whether rows are shuffled.
        buffer: Rows of the shuffle buffer.
        names: Of its files.
    """
    order = [n for epoch in range(2) for n in model_epoch(sizes, 1, epoch, shuffle, buffer)]
    rows = []
    for rank in range(size):
        blocks = list(RowSource(data, ReadPlan(batch, rank, size, 2, shuffle, buffer, seed=1)))
        for got in blocks:
            for i, at in enumerate(got.columns.column("at").to_pylist()):
                file, row = (at if isinstance(at, str) else at.decode()).split("-")
                assert got.locate(i) == f"{names[int(file)]}, row {int(row) + 1}"
        rows.append(numbers(blocks))
    assert [n for step in range(len(rows[0])) for own in rows for n in own[step]] == order


def model_epoch(sizes: Sequence[int], seed: int, epoch: int, shuffle: bool, buffer: int) -> list[int]:
    """One epoch's rows in order, by the definition: file order, then a shuffle buffer."""
    starts = [0, *itertools.accumulate(sizes)]
    files = file_order(list(range(len(sizes))), seed, epoch, shuffle)
    rows = [starts[f] + row for f in files for row in range(sizes[f])]
    if not shuffle or buffer < 2:
        return rows
    state = mix(seed, epoch, 2)
    waiting, out = rows[:buffer], []
    rest = iter(rows[buffer:])
    while waiting:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        pick = (((z ^ (z >> 31)) >> 32) * len(waiting)) >> 32
        out.append(waiting[pick])
        waiting[pick] = waiting[-1]
        waiting.pop()
        waiting.extend(itertools.islice(rest, 1))
    return out
