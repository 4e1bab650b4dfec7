"""Damaged input of every kind: one clear error, or the rows that are there; never a crash.

``--damaged N`` reads N damaged files of each kind. Rows are compared where it is known which remain: before the first
damaged line of a text, and all of them where checksums tell the rest.
"""

from __future__ import annotations

import dataclasses
import datetime
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.broker import Broker
from data.test_criteo_input import write as write_criteo
from data.test_tfrecord_input import example, sequences
from data.test_tfrecord_input import write as write_records
from google.protobuf import text_format
from pyarrow import orc

from hvdrec.config import load
from hvdrec.config.protos import pipeline_pb2
from hvdrec.data import open_source
from hvdrec.errors import ConfigError, DataError
from hvdrec.storage import maxcompute
from tests.data.reading import columns

ROWS = 12
PAIR, WITHIN = "\002", "\003"
Row = tuple[object, ...]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        config: `data_config`, without `input_fields`.
        write: Writes a whole file.
        rows_before: How many rows of the whole file end before a byte of it; None if that isn't known.
        checked: Whether damage can't go unnoticed.
    """

    config: str
    write: Callable[[pathlib.Path], object]
    rows_before: Callable[[bytes, int], int] | None = None
    checked: bool = False


def _values(row: int) -> dict[str, str]:
    return {"clk": str(row % 2), "user": f"u{row}", "tag": "t" * (3 * row), "price": f"{row / 4}"}


def _text(
    line: Callable[[dict[str, str]], str], opener: Callable[..., object] = open
) -> Callable[..., object]:
    def write(path: pathlib.Path) -> None:
        with opener(path, "wb") as file:
            file.write("".join(line(_values(row)) + "\n" for row in range(ROWS)).encode())

    return write


def _lines_before(whole: bytes, place: int) -> int:
    return whole[:place].count(b"\n")


def _records_before(whole: bytes, place: int) -> int:
    at = rows = 0
    while at + 12 <= len(whole):
        at += 16 + int.from_bytes(whole[at : at + 8], "little")
        if at > place:
            break
        rows += 1
    return rows


def _examples(path: pathlib.Path, compression: str = "") -> None:
    rows = [{k: v.encode() for k, v in _values(row).items()} for row in range(ROWS)]
    write_records(path, [example(row) for row in rows], compression)


def _sequences(path: pathlib.Path) -> None:
    rows = [{k: v.encode() for k, v in _values(row).items()} for row in range(ROWS)]
    write_records(path, [sequences(rows[i : i + 3]) for i in range(0, ROWS, 3)])


def _table() -> pa.Table:
    rows = [_values(row) for row in range(ROWS)]
    return pa.table(
        {
            "clk": pa.array([int(row["clk"]) for row in rows], pa.int64()),
            "user": [row["user"] for row in rows],
            "tag": pa.array([[row["tag"], "x"] for row in rows], pa.list_(pa.string())),
            "price": [float(row["price"]) for row in rows],
            "day": pa.array([datetime.date(2020, 1, 1)] * ROWS),
        }
    )


def _csv(row: dict[str, str]) -> str:
    return ",".join(row.values())


def _quoted(row: dict[str, str]) -> str:
    return ",".join(f'"{cell}"' for cell in row.values())


def _rtp(row: dict[str, str]) -> str:
    label, *features = row.values()
    return f"{label};other;{PAIR.join(features)}"


def _pairs(row: dict[str, str]) -> str:
    return PAIR.join(f"{name}{WITHIN}{value}" for name, value in row.items())


_RTP = f'rtp_separator: ";" separator: "{PAIR}" selected_cols: "0,2"'
KINDS = {
    "csv": Kind('input_type: CSVInput separator: ","', _text(_csv), _lines_before),
    "csv, quoted": Kind('input_type: CSVInputEx separator: ","', _text(_quoted)),
    "csv, gzip": Kind('input_type: CSVInput separator: ","', _text(_csv, gzip.open), checked=True),
    "RTPInput": Kind(f"input_type: RTPInput {_RTP}", _text(_rtp), _lines_before),
    "HiveRTPInput": Kind(f"input_type: HiveRTPInput {_RTP}", _text(_rtp), _lines_before),
    "OdpsRTPInput, lines": Kind(f"input_type: OdpsRTPInput {_RTP}", _text(_rtp), _lines_before),
    "RTPInputV2": Kind("input_type: RTPInputV2", _text(_pairs), _lines_before),
    "TFRecordInput": Kind("input_type: TFRecordInput", _examples, _records_before, checked=True),
    "TFRecordInput, gzip": Kind(
        'input_type: TFRecordInput data_compression_type: "GZIP"',
        lambda path: _examples(path, "GZIP"),
        checked=True,
    ),
    "TFRecordInput, zlib": Kind(
        'input_type: TFRecordInput data_compression_type: "ZLIB"',
        lambda path: _examples(path, "ZLIB"),
        checked=True,
    ),
    "BatchTFRecordInput": Kind(
        "input_type: BatchTFRecordInput n_data_batch_tfrecord: 3", _sequences, checked=True
    ),
    "ParquetInput": Kind("input_type: ParquetInput", lambda path: pq.write_table(_table(), path)),
    "HiveParquetInput": Kind(
        "input_type: HiveParquetInput", lambda path: pq.write_table(_table(), path, compression="gzip")
    ),
    "HiveInput, ORC": Kind(
        "input_type: HiveInput", lambda path: orc.write_table(_table(), path, stripe_size=64)
    ),
    "HiveInput, ORC, zlib": Kind(
        "input_type: HiveInput", lambda path: orc.write_table(_table(), path, compression="zlib")
    ),
}


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--damaged")


def _damaged(rng: np.random.Generator, whole: bytes) -> tuple[bytes, int]:
    """Bytes with some changed, cut or inserted, and where the first differs."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        place, kind = int(rng.integers(0, len(data) + 1)), int(rng.integers(0, 5))
        if kind == 0 and place < len(data):
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del data[place : place + int(rng.integers(1, 9))]
        elif kind == 2:
            data[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            # What means something in text.
            data[place:place] = bytes([int(rng.choice([0, 2, 3, 10, 13, 34, 44, 59, 255]))])
        elif kind == 4 and rng.integers(0, 3) == 0:
            del data[place:]
    differ = next(
        (i for i, (a, b) in enumerate(zip(data, whole, strict=False)) if a != b), min(len(data), len(whole))
    )
    return bytes(data), differ


def _check_text(error: Exception, place: str) -> None:
    """An error is one line that names the file."""
    assert place in str(error)
    assert "\n" not in str(error)


def _config(kind: Kind, path: pathlib.Path) -> object:
    fields = "".join(f'input_fields {{ input_name: "{name}" }}' for name in _values(0))
    given = "parquet_train_input" if kind.config == "input_type: ParquetInput" else "train_input_path"
    text = f"""{given}: "{path}" data_config {{ batch_size: 5 num_epochs: 1 shuffle: false
        label_fields: "clk" {fields} {kind.config} }}"""
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig(), allow_unknown_field=True)


def _read(config: object, names: Sequence[str] = ("clk", "user", "tag", "price")) -> list[Row]:
    rows: list[Row] = []
    for block in open_source(config, fields=columns(*names), training=True):
        table = pa.table(
            [_as_bytes(column) for column in block.columns.columns], names=block.columns.schema.names
        )
        table.validate(full=True)
        rows += zip(*table.to_pydict().values(), strict=True)
    return rows


def _as_bytes(column: pa.Array) -> pa.Array:
    """Text as bytes: that of damaged columns isn't always UTF-8."""
    if pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type):
        return column.cast(pa.list_(pa.binary()))
    return column.cast(pa.binary()) if pa.types.is_string(column.type) else column


@pytest.mark.parametrize("name", KINDS)
def test_files(tmp_path: pathlib.Path, name: str, count: int) -> None:
    kind, rng = KINDS[name], np.random.default_rng(zlib.crc32(name.encode()))
    path = tmp_path / ("rows.gz" if "csv, gzip" in name else "rows")
    kind.write(path)
    whole, config = path.read_bytes(), _config(kind, path)
    expected, errors = _read(config), 0
    assert len(expected) == ROWS
    for _ in range(count):
        data, place = _damaged(rng, whole)
        path.write_bytes(data)
        rows: list[Row] = []
        try:
            rows = _read(config)
        except DataError as error:
            _check_text(error, "rows")
            errors += 1
            continue
        if kind.checked:
            assert rows == expected[: len(rows)]
        if kind.rows_before is not None:
            before = kind.rows_before(whole, place)
            assert rows[:before] == expected[:before]
    assert errors > count // 10


def test_criteos_binaries(tmp_path: pathlib.Path, count: int) -> None:
    rng = np.random.default_rng(0)
    write_criteo(tmp_path, [ROWS])
    text = f"""binary_train_input {{ label_path: "{tmp_path}/0_label.bin" dense_path: "{tmp_path}/0_dense.bin"
        category_path: "{tmp_path}/0_category.bin" }}
        data_config {{ input_type: CriteoInput batch_size: 5 num_epochs: 1 shuffle: false }}"""
    config, names = text_format.Parse(text, pipeline_pb2.EasyRecConfig()), ("label", "f1", "c26")
    expected = _read(config, names)
    for i in range(count):
        path = tmp_path / f"0_{('label', 'dense', 'category')[i % 3]}.bin"
        whole = path.read_bytes()
        data, place = _damaged(rng, whole)
        path.write_bytes(data)
        try:
            rows = _read(config, names)
        except DataError as error:
            _check_text(error, "0_")
        else:
            assert len(data) == len(whole)
            before = place * ROWS // len(whole)
            assert rows[:before] == expected[:before]
        path.write_bytes(whole)


def test_messages_of_kafka(count: int) -> None:
    """Those that are rows are read, and the others counted."""
    broker, rng = Broker(), np.random.default_rng(0)
    sent = [_damaged(rng, _csv(_values(row % ROWS)).encode())[0] for row in range(10 * count)]
    for partition in range(4):
        broker.send("damaged", partition, sent[partition::4])
    fields = "".join(f'input_fields {{ input_name: "{name}" }}' for name in _values(0))
    text = f"""kafka_train_input {broker.message("damaged")} data_config {{ input_type: KafkaInput batch_size: 500
        num_epochs: 1 label_fields: "clk" separator: "," ignore_error: true {fields} }}"""
    config = text_format.Parse(text, pipeline_pb2.EasyRecConfig(), allow_unknown_field=True)
    blocks = list(open_source(config, fields=columns(*_values(0)), training=True))
    found = [row for block in blocks for row in zip(*block.columns.to_pydict().values(), strict=True)]

    def split(message: bytes) -> Row | None:
        line = message.removesuffix(b"\n").removesuffix(b"\r")
        cells = tuple(line.split(b","))
        return cells if len(cells) == len(_values(0)) and b"\n" not in line else None

    rows = [row for message in sent if (row := split(message)) is not None]
    assert sorted(found) == sorted(rows)
    assert sum(block.bad_rows for block in blocks) == len(sent) - len(rows)


def test_features_in_tables(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    rng = np.random.default_rng(0)
    kind = Kind(f'input_type: OdpsRTPInput separator: "{PAIR}" selected_cols: "clk,features"', _csv)
    config = _config(kind, pathlib.Path("x"))
    config.train_input_path = "odps://p/tables/t"
    good = [PAIR.join(list(_values(row).values())[1:]).encode() for row in range(ROWS)]
    for _ in range(count):
        cells = [*good]
        for row in rng.choice(ROWS, 3):
            cells[row] = _damaged(rng, cells[row])[0]
        table = pa.table(
            {"clk": pa.array([i % 2 for i in range(ROWS)]), "features": pa.array(cells, pa.binary())}
        )
        monkeypatch.setattr(maxcompute.Table, "open", lambda self, table=table: _Snapshot(table))
        try:
            rows = _read(config)
        except DataError as error:
            _check_text(error, "odps://p/tables/t, row")
        else:
            assert [PAIR.encode().join(row[1:]) for row in rows] == cells


class _Snapshot:
    """Stands in for a table."""

    name = "odps://p/tables/t"

    def __init__(self, table: pa.Table) -> None:
        self.rows, self.schema, self._table = table.num_rows, table.schema, table

    def batches(self, first: int, rows: int, names: list[str]):
        yield from self._table.slice(first, rows).select(names).to_batches(max_chunksize=5)


def test_fg_json(tmp_path: pathlib.Path, count: int) -> None:
    """A config with features, or an error that names the file."""
    rng, path = np.random.default_rng(0), tmp_path / "fg.json"
    sequence = {
        "feature_name": "at",
        "feature_type": "id_feature",
        "hash_bucket_size": 9,
        "value_type": "String",
    }
    features = [
        {"feature_name": "u", "feature_type": "id_feature", "hash_bucket_size": 9, "embedding_dimension": 4},
        {"feature_name": "p", "feature_type": "raw_feature", "value_dimension": 2, "boundaries": [0.5, 1]},
        {"feature_name": "c", "feature_type": "combo_feature", "hash_bucket_size": 9, "shared_name": "s"},
        {"feature_name": "l", "feature_type": "lookup_feature", "hash_bucket_size": 7, "combiner": "sum"},
        {
            "feature_name": "o",
            "feature_type": "overlap_feature",
            "method": "query_common_ratio",
            "hash_bucket_size": 7,
        },
        {"sequence_name": "h", "sequence_length": 5, "sequence_delim": ";", "features": [sequence]},
    ]
    whole = json.dumps({"features": features, "embedding_dim": 8}).encode()
    config = tmp_path / "a.config"
    config.write_text(f'fg_json_path: "{path}" data_config {{ label_fields: "clk" }}')
    path.write_bytes(whole)
    assert len(load(config).proto.feature_config.features) == len(features)
    errors = 0
    for _ in range(count):
        path.write_bytes(_damaged(rng, whole)[0])
        try:
            load(config)
        except ConfigError as error:
            _check_text(error, "fg.json")
            errors += 1
    assert errors > count // 4
