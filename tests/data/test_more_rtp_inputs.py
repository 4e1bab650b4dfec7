"""RTPInputV2, HiveRTPInput and OdpsRTPInput."""

from __future__ import annotations

import pathlib

import pyarrow as pa
import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data import open_source
from hvdrec.data.files import list_files
from hvdrec.data.rtp_pairs_input import RtpPairsFormat
from hvdrec.errors import DataError
from hvdrec.storage import maxcompute
from tests.data.reading import check_order, columns

PAIR, WITHIN = "\002", "\003"


def _line(**cells: object) -> str:
    pairs = [
        (k, v) for k, values in cells.items() for v in (values if isinstance(values, list) else [values])
    ]
    return PAIR.join(f"{k}{WITHIN}{v}" for k, v in pairs)


def _config(kind: str, path: object, more: str = "", fields: str = "clk user tag") -> object:
    config = pipeline_pb2.EasyRecConfig()
    declared = "".join(f'input_fields {{ input_name: "{name}" }}' for name in fields.split())
    text = f"""train_input_path: "{path}" data_config {{ input_type: {kind} batch_size: 10 num_epochs: 1 shuffle: false
        label_fields: "clk" {declared} {more} }}"""
    return text_format.Parse(text, config, allow_unknown_field=True)


def _read(config: object, *names: str, **options: object) -> dict[str, list[bytes]]:
    (block,) = open_source(config, fields=columns(*names), training=True, **options)
    return block.columns.to_pydict()


def test_names_and_values(tmp_path: pathlib.Path) -> None:
    lines = [
        _line(clk=1, user="u", tag=["a", "b"], other=5),
        _line(tag="c", clk=0) + PAIR,
        _line(user="", clk=1),
    ]
    (tmp_path / "x").write_text("\n".join(lines) + "\n")
    found = _read(_config("RTPInputV2", tmp_path / "x"), "tag", "clk", keep_raw=True)
    assert found == {"tag": [b"a,b", b"c", b""], "clk": [b"1", b"0", b"1"], "user": [b"u", b"", b""]}


@pytest.mark.parametrize("bad", ["clk", f"clk{WITHIN}1{WITHIN}2", f"{_line(user='u')}{PAIR}x"])
def test_a_pair_that_is_none_is_told_with_its_row(tmp_path: pathlib.Path, bad: str) -> None:
    (tmp_path / "x").write_text(f"{_line(clk=1)}\n\n{bad}\n{_line(clk=0)}\n")
    with pytest.raises(DataError, match=r"x, row 3: '.*' is not a name and a value"):
        _read(_config("RTPInputV2", tmp_path / "x"), "clk")
    config = _config("RTPInputV2", tmp_path / "x", "ignore_error: true")
    assert _read(config, "clk") == {"clk": [b"1", b"0"]}


def test_the_order_is_that_of_text_files(tmp_path: pathlib.Path) -> None:
    sizes, number, paths = [13, 0, 30], 0, []
    for i, size in enumerate(sizes):
        paths.append(str(tmp_path / f"part-{i}"))
        lines = [_line(at=f"{i}-{row}", n=number + row) for row in range(size)]
        number += size
        pathlib.Path(paths[-1]).write_text("".join(line + "\n" for line in lines))
    data = RtpPairsFormat(list_files(paths), columns("n", "at"), ["at", "n"], block_bytes=64)
    check_order(data, sizes, 4, 2, True, 9, paths)


@pytest.mark.parametrize("kind", ["HiveRTPInput", "OdpsRTPInput"])
def test_lines_by_paths(tmp_path: pathlib.Path, kind: str) -> None:
    (tmp_path / "x").write_text(f"1;7;u{PAIR}a\n0;8;v{PAIR}\n")
    config = _config(kind, tmp_path / "x", f'rtp_separator: ";" separator: "{PAIR}" selected_cols: "0,2"')
    assert _read(config, "tag", "clk") == {"tag": [b"a", b""], "clk": [b"1", b"0"]}


class _Tunnel:
    """Stands in for a table."""

    def __init__(self, table: pa.Table) -> None:
        self.rows, self.schema, self.name = table.num_rows, table.schema, "odps://p/tables/t"
        self._table = table

    def batches(self, first: int, rows: int, columns: list[str]):
        yield from self._table.slice(first, rows).select(columns).to_batches(max_chunksize=2)


def test_tables_with_all_features_in_one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table(
        {
            "clk": pa.array([1, 0, 1], pa.int64()),
            "weight": pa.array([0.5, 1.0, 2.0]),
            "features": [f"u{PAIR}a", f"v{PAIR}", f"{PAIR}c"],
        }
    )
    monkeypatch.setattr(maxcompute.Table, "open", lambda self: _Tunnel(table))
    path = "odps://p/tables/t"
    more = f'separator: "{PAIR}" selected_cols: "clk,weight,features"'
    config = _config("OdpsRTPInput", path, more, "clk weight user tag")
    found = _read(config, "tag", "clk", "weight", keep_raw=True)
    assert found == {
        "tag": [b"a", b"", b"c"],
        "clk": [1, 0, 1],
        "weight": [0.5, 1.0, 2.0],
        "user": [b"u", b"v", b""],
    }
    assert _read(config, "clk") == {"clk": [1, 0, 1]}
    table = table.set_column(2, "features", pa.array(["a", f"v{PAIR}", "c"]))
    with pytest.raises(DataError, match="row 1, column 'features': found 1 features, expected 2"):
        _read(config, "tag")
