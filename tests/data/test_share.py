"""The number of remaining blocks: an estimate during the first pass, exact afterwards."""

from __future__ import annotations

import gzip
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hvdrec.data.batch import BEGINNING
from hvdrec.data.files import list_files
from hvdrec.data.parquet_input import ParquetFormat
from hvdrec.data.rows import Format
from hvdrec.data.source import ReadPlan, RowSource
from tests.data.reading import columns, csv_format, write_files

ROWS = 6000


def _guesses(data: Format, **plan: int) -> list[int | None]:
    source = RowSource(data, ReadPlan(batch_size=100, **plan))
    assert source.blocks_after(BEGINNING) is None
    return [source.blocks_after(block.position) for block in source]


def _check(guesses: list[int | None], blocks: int, close: float) -> None:
    assert len(guesses) == blocks
    for i, guess in enumerate(guesses):
        assert guess == pytest.approx(blocks - 1 - i, abs=close * blocks)
    assert guesses[-1] == 0


@pytest.mark.parametrize("size", [1, 3])
def test_text_files(tmp_path: pathlib.Path, size: int) -> None:
    data = csv_format(write_files(tmp_path, [ROWS // 2, 0, ROWS // 2]), block_bytes=4096)
    _check(_guesses(data, epochs=2, size=size), 2 * ROWS // 100 // size, 0.25)


def test_a_compressed_file_counts_at_its_end(tmp_path: pathlib.Path) -> None:
    paths = write_files(tmp_path, [ROWS // 4] * 4)
    packed = []
    for path in map(pathlib.Path, paths):
        packed.append(str(path) + ".gz")
        pathlib.Path(packed[-1]).write_bytes(gzip.compress(path.read_bytes()))
    data = csv_format(packed, block_bytes=4096)
    guesses = [g for g in _guesses(data, epochs=2) if g is not None]
    assert guesses[-ROWS // 100 :] == list(range(ROWS // 100))[::-1]


def test_parquet_files(tmp_path: pathlib.Path) -> None:
    for part in range(3):
        table = pa.table({"n": range(part * 2000, part * 2000 + 2000), "at": ["x"] * 2000})
        pq.write_table(table, tmp_path / f"{part}.parquet", row_group_size=500)
    files = list_files([str(tmp_path)])
    _check(_guesses(ParquetFormat(files, columns("n"), block_rows=250), epochs=2), 2 * ROWS // 100, 0.15)


def test_without_an_end_there_is_nothing_to_guess(tmp_path: pathlib.Path) -> None:
    source = RowSource(csv_format(write_files(tmp_path, [50])), ReadPlan(batch_size=10, epochs=0))
    for _, block in zip(range(20), source, strict=False):
        assert source.blocks_after(block.position) is None
