"""Rows per second of reading CSV like Adult's: hvdrec, compared with pyarrow alone and tf.data.

    python bench/input_read.py [--rows 1000000] [--out FILE.json]

Generates a file with 15 columns and about 105 bytes per row, reads it with each reader, and prints rows per
second of wall time and of CPU time (the latter is more reliable on a shared machine) as JSON. hvdrec returns
batches of 1,024 rows of raw cells; `of 8` is one of eight ranks, which scans all bytes and takes an eighth
of the rows: its figure counts the rows of all ranks together.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.csv
from machine import describe, report

from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.files import list_files
from hvdrec.data.rows import FieldLike
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.features.plan import Field

BATCH = 1024
WORDS = ["Private", "Self-emp-not-inc", "Bachelors", "HS-grad", "Married-civ-spouse", "Exec-managerial"]


def adult_columns(rows: int) -> dict[str, pa.Array]:
    """A label, six numbers and eight words."""
    rng = np.random.default_rng(1)
    columns: dict[str, pa.Array] = {"label": pa.array(rng.integers(0, 2, rows))}
    for i, most in enumerate([90, 1_500_000, 16, 100_000, 5_000, 99]):
        columns[f"number{i}"] = pa.array(rng.integers(0, most, rows))
    for i in range(8):
        index = pa.array(rng.integers(0, len(WORDS), rows).astype(np.int8))
        columns[f"word{i}"] = pa.DictionaryArray.from_arrays(index, WORDS).cast(pa.string())
    return columns


def write_data(path: pathlib.Path, rows: int) -> None:
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    pyarrow.csv.write_csv(pa.table(adult_columns(rows)), path, options)


def read_hvdrec(path: str, names: list[str], wanted: list[str] | None = None, **plan: int) -> int:
    fields: list[FieldLike] = [Field(name, "STRING", "") for name in wanted or names]
    source = RowSource(CsvFormat(list_files([path]), fields, names), ReadPlan(BATCH, **plan))
    return sum(block.columns.num_rows for block in source)


def read_pyarrow(path: str, names: list[str]) -> int:
    reader = pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=8 << 20),
        parse_options=pyarrow.csv.ParseOptions(quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), check_utf8=False
        ),
    )
    return sum(batch.num_rows for batch in reader)


def read_tf_data(path: str, names: list[str]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    defaults = [""] * len(names)
    rows = tf.data.TextLineDataset(path, buffer_size=8 << 20).batch(BATCH)
    rows = rows.map(lambda lines: tf.io.decode_csv(lines, defaults, use_quote_delim=False))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return sum(int(batch[0].shape[0]) for batch in rows.with_options(options))


def measure(
    read: Callable[[], int], times: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """The best of several runs, in rows per second; `clock` returns the processor time so far."""
    wall, cpu = [], []
    for _ in range(times):
        started = time.perf_counter(), clock()
        rows = read()
        wall.append(rows / (time.perf_counter() - started[0]))
        cpu.append(rows / (clock() - started[1]))
    return {"rows_per_second": round(max(wall)), "rows_per_cpu_second": round(max(cpu))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "adult-width.csv")
        write_data(data, args.rows)
        path = str(data)
        names = ["label", *(f"number{i}" for i in range(6)), *(f"word{i}" for i in range(8))]
        readers: dict[str, Callable[[], int]] = {
            "hvdrec": lambda: read_hvdrec(path, names),
            "hvdrec, shuffle buffer 32": lambda: read_hvdrec(path, names, shuffle=True, shuffle_buffer=32),
            "hvdrec, shuffle buffer 100000": lambda: read_hvdrec(
                path, names, shuffle=True, shuffle_buffer=100_000
            ),
            "hvdrec, 4 of 15 columns": lambda: read_hvdrec(path, names, names[::4]),
            "hvdrec, of 8": lambda: 8 * read_hvdrec(path, names, rank=3, size=8),
            "pyarrow, one thread": lambda: read_pyarrow(path, names),
            "tf.data, one thread": lambda: read_tf_data(path, names),
        }
        result = {
            "benchmark": "input_read",
            **describe("pyarrow"),
            "rows": args.rows,
            "bytes_per_row": round(data.stat().st_size / args.rows, 1),
            "results": {name: measure(read, args.times) for name, read in readers.items()},
        }
    report(result, args.out)


if __name__ == "__main__":
    main()
