"""Rows per second of ORC files like Adult's: HiveInput, its decoder alone, and pyarrow without a second process.

    python bench/orc_read.py [--rows 1000000] [--times 3] [--out FILE.json]

HiveInput decodes ORC files in a process of their own, which a damaged file can end, and receives the columns through
a pipe. `decoder` reads the stripes through that process, `pyarrow` decodes the same stripes in this one, and `hvdrec`
returns batches of 1,024 rows. Processor time is that of both processes. Prints JSON.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

import pyarrow as pa
from input_read import BATCH, adult_columns, measure
from machine import describe, report
from pyarrow import orc

from hvdrec.data import orc_file
from hvdrec.data.files import list_files
from hvdrec.data.orc_input import OrcFormat
from hvdrec.data.rows import FieldLike
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.features.plan import Field

#: Bytes of a stripe, as Hive writes them by default.
STRIPE = 64 << 20


def read_hvdrec(path: str, names: list[str]) -> int:
    fields: list[FieldLike] = [Field(name, "STRING", "") for name in names]
    source = RowSource(OrcFormat(list_files([path]), fields), ReadPlan(BATCH))
    return sum(block.columns.num_rows for block in source)


def read_decoder(path: str, names: list[str]) -> int:
    with pa.OSFile(path) as source:
        file = orc_file.OrcFile(source)
        return sum(file.read_stripe(stripe, names).num_rows for stripe in range(file.nstripes))


def read_pyarrow(path: str, names: list[str]) -> int:
    file = orc.ORCFile(path)
    return sum(file.read_stripe(stripe, names).num_rows for stripe in range(file.nstripes))


def processor_seconds() -> float:
    """The processor time of this process and of the decoder."""
    own = time.process_time()
    for decoder in orc_file._shared:
        cells = pathlib.Path(f"/proc/{decoder._process.pid}/stat").read_text().rpartition(")")[2].split()
        own += sum(map(int, cells[11:13])) / os.sysconf("SC_CLK_TCK")
    return own


def measure_warm(read: Callable[[], int], times: int) -> dict[str, float]:
    """As `measure`, for both processes; the first run, which starts the decoder, doesn't count."""
    read()
    return measure(read, times, processor_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, "adult-width.orc"))
        table = pa.table(adult_columns(args.rows))
        orc.write_table(table, path, stripe_size=STRIPE, compression="zlib")
        names = table.column_names
        readers = {"hvdrec": read_hvdrec, "decoder": read_decoder, "pyarrow": read_pyarrow}
        result = {
            "benchmark": "orc_read",
            **describe("pyarrow"),
            "rows": args.rows,
            "bytes_per_row": round(os.path.getsize(path) / args.rows, 1),
            "stripes": orc.ORCFile(path).nstripes,
            "results": {
                name: measure_warm(lambda read=read: read(path, names), args.times)
                for name, read in readers.items()
            },
        }
    report(result, args.out)


if __name__ == "__main__":
    main()
