"""Rows per second of reading training data from a store and from local files, and the bytes that a store sends.

    python bench/store.py [--rows 400000] [--ranks 8] [--out FILE.json]

The store is moto's S3 server on this machine: a test server in Python, which shares the cores with the
readers and is about as fast as one slow connection. The ratios therefore show the cost of a slow store, and the
bytes how often a file is requested; a real store is farther away, and faster. Every reader runs in its own
process; the rows with ranks are `--ranks` processes at once, which read two epochs, shuffled.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow.csv
import pyarrow.parquet
from input_read import BATCH, write_data
from machine import describe, report

NAMES = ["label", *(f"number{i}" for i in range(6)), *(f"word{i}" for i in range(8))]


def serve(port: int) -> None:
    """moto's server, which counts the bytes that it sends: /sent returns the count and resets it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import run_simple

    store = DomainDispatcherApplication(create_backend_app)
    sent = {"bytes": 0, "requests": 0}

    def count(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/sent":
            start_response("200 OK", [])
            text = json.dumps(sent)
            sent.update(bytes=0, requests=0)
            return [text.encode()]
        parts = list(store(environ, start_response))
        if environ["REQUEST_METHOD"] == "GET":
            sent["bytes"] += sum(map(len, parts))
            sent["requests"] += 1
        return parts

    run_simple("127.0.0.1", port, count, threaded=True)


@contextlib.contextmanager
def server() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, __file__, "--serve", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(300):
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(urllib.request.Request(f"{address}/bucket", method="PUT")).close()
                    break
                time.sleep(0.1)
            yield address
        finally:
            process.kill()


def read(path: str, rank: int, size: int, epochs: int) -> None:
    """Prints the number of rows of all ranks that a rank processes per second."""
    from hvdrec.data.csv_input import CsvFormat
    from hvdrec.data.files import list_files
    from hvdrec.data.parquet_input import ParquetFormat
    from hvdrec.data.source import ReadPlan, RowSource
    from hvdrec.features.plan import Field

    fields = [Field(name, "STRING", "") for name in NAMES]
    plan = ReadPlan(BATCH, rank, size, epochs, shuffle=epochs > 1, shuffle_buffer=10_000)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    files = list_files([path])
    data = ParquetFormat(files, fields) if path.endswith(".parquet") else CsvFormat(files, fields, NAMES)
    rows = sum(block.columns.num_rows for block in RowSource(data, plan))
    print(rows / (time.perf_counter() - started))


def rows_per_second(path: str, ranks: int, epochs: int, **environment: str) -> int:
    commands = [
        [sys.executable, __file__, "--read", path, str(rank), str(ranks), str(epochs)]
        for rank in range(ranks)
    ]
    variables = {**os.environ, "PYTHONPATH": os.getcwd(), **environment}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=variables, **pipes) for command in commands]
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    found = [float(process.communicate()[0]) for process in running]
    return round(ranks * min(found))


def measure(rows: int, ranks: int, times: int) -> dict[str, Any]:
    from hvdrec import storage

    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, server() as address:
        csv, parquet = pathlib.Path(folder, "rows.csv"), pathlib.Path(folder, "rows.parquet")
        write_data(csv, rows)
        options = pyarrow.csv.ReadOptions(column_names=NAMES)
        text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(NAMES, pyarrow.string()))
        table = pyarrow.csv.read_csv(csv, read_options=options, convert_options=text)
        pyarrow.parquet.write_table(table, parquet, row_group_size=1 << 16)
        os.environ.update(
            AWS_ENDPOINT_URL=address,
            AWS_ACCESS_KEY_ID="any",
            AWS_SECRET_ACCESS_KEY="any",
            HVDREC_WORK_DIR=folder,
        )
        for file in (csv, parquet):
            storage.upload(file, f"s3://bucket/{file.name}")
            sizes = {"file_bytes": file.stat().st_size}
            for what, count, epochs in (("one reader", 1, 1), (f"{ranks} ranks, 2 epochs", ranks, 2)):
                found: dict[str, Any] = {"local": 0, "store": 0, "store, nothing kept": 0}
                for _ in range(times):
                    for kind in found:
                        path = str(file) if kind == "local" else f"s3://bucket/{file.name}"
                        kept = {"HVDREC_STORE_CACHE": "0"} if "nothing" in kind else {}
                        urllib.request.urlopen(f"{address}/sent").close()
                        found[kind] = max(found[kind], rows_per_second(path, count, epochs, **kept))
                        with urllib.request.urlopen(f"{address}/sent") as answer:
                            sizes[f"sent, {kind}"] = json.load(answer)["bytes"]
                results[f"{file.suffix[1:]}, {what}"] = {
                    "rows_per_second": found,
                    "of_local": {kind: round(value / found["local"], 3) for kind, value in found.items()},
                    **sizes,
                }
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve)
    elif args.read:
        read(args.read[0], *map(int, args.read[1:]))
    else:
        found = {
            "benchmark": "store",
            **describe("pyarrow", "moto"),
            "rows": args.rows,
            "results": measure(args.rows, args.ranks, args.times),
        }
        report(found, args.out)


if __name__ == "__main__":
    main()
