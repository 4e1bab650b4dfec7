"""HiveInput on ORC files: the same rows, order and types as from other files."""

from __future__ import annotations

import decimal
import itertools
import pathlib

import pyarrow as pa
import pytest
from google.protobuf import text_format
from pyarrow import orc

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data import open_source
from hvdrec.data.files import list_files
from hvdrec.data.orc_input import OrcFormat, are_orc
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import DataError
from tests.data.reading import check_order, columns, numbers


def _write(folder: pathlib.Path, sizes: list[int]) -> list[str]:
    number = itertools.count()
    paths = []
    for i, size in enumerate(sizes):
        table = pa.table(
            {
                "at": pa.array([f"{i}-{row}" for row in range(size)], pa.string()),
                "n": pa.array([next(number) for _ in range(size)], pa.int64()),
            }
        )
        paths.append(str(folder / f"{i:06d}_0"))
        orc.write_table(table, paths[-1], batch_size=7, stripe_size=64)
    return paths


def _format(paths: list[str], *names: str, **options: object) -> OrcFormat:
    return OrcFormat(list_files(paths), columns(*(names or ("n", "at"))), **options)


@pytest.mark.parametrize(
    ("sizes", "block", "ranks", "shuffle"),
    [([40, 0, 13], 5, 1, False), ([60, 7], 11, 3, True), ([1], 30, 2, False)],
)
def test_the_order_is_that_of_text_files(
    tmp_path: pathlib.Path, sizes: list[int], block: int, ranks: int, shuffle: bool
) -> None:
    paths = _write(tmp_path, sizes)
    check_order(_format(paths, block_rows=block), sizes, 4, ranks, shuffle, 20, paths)


def test_a_source_goes_on_where_another_stopped(tmp_path: pathlib.Path) -> None:
    data = _format(_write(tmp_path, [130, 70]), block_rows=10)
    plan = ReadPlan(9, epochs=2, shuffle=True, shuffle_buffer=25)
    blocks = list(RowSource(data, plan))
    for done in (1, 23):
        assert numbers(RowSource(data, plan, blocks[done - 1].position)) == numbers(blocks[done:])


def test_files_without_bytes_have_no_rows(tmp_path: pathlib.Path) -> None:
    empty, filled = str(tmp_path / "0_empty"), _write(tmp_path, [3, 4])
    (tmp_path / "0_empty").touch()
    paths = [empty, filled[0], empty, filled[1], empty]
    assert are_orc(list_files(paths))
    found = numbers(RowSource(_format(paths), ReadPlan(9)))
    assert found == numbers(RowSource(_format(filled), ReadPlan(9)))
    assert not are_orc(list_files(paths[:1]))
    with pytest.raises(DataError, match="0_empty: has no bytes, and neither has any other file"):
        _format(paths[:1])


def test_types_and_hive_input(tmp_path: pathlib.Path) -> None:
    table = pa.table(
        {
            "label": pa.array([1, None, 0], pa.int8()),
            "price": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("2")], pa.decimal128(10, 2)),
            "words": pa.array([["a", "b"], None, []], pa.list_(pa.string())),
            "name": pa.array(["x", "", None]),
            "ok": pa.array([True, None, False]),
        }
    )
    orc.write_table(table, tmp_path / "part")
    config = pipeline_pb2.EasyRecConfig()
    text_format.Parse(
        f"""train_input_path: "{tmp_path}/part" data_config {{ input_type: HiveInput batch_size: 3 shuffle: false
        input_fields {{ input_name: "label" input_type: INT32 }}
        input_fields {{ input_name: "price" input_type: DOUBLE }} input_fields {{ input_name: "words" }} }}""",
        config,
        allow_unknown_field=True,
    )
    config.data_config.num_epochs = 1
    (block,) = open_source(config, fields=columns("price", "label", "words"), training=True, keep_raw=True)
    found = block.columns.to_pydict()
    assert list(found) == ["price", "label", "words", "name", "ok"]
    assert found["price"] == [1.5, None, 2.0]
    assert found["label"] == [1, None, 0]
    assert found["words"] == table["words"].to_pylist()
    with pytest.raises(DataError, match="no column is named nothing"):
        _format([str(tmp_path / "part")], "nothing")


def test_a_file_that_ends_the_decoder_is_an_error(tmp_path: pathlib.Path) -> None:
    """The library trusts the lengths of lists; the next file has another decoder."""
    table = pa.table({"n": range(12), "tags": pa.array([["t" * i, "x"] for i in range(12)])})
    orc.write_table(table, tmp_path / "whole")
    data = bytearray((tmp_path / "whole").read_bytes())
    lengths = b"\xc0\x0b\x02\x00"
    data[data.index(lengths) + 3] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(
        DataError, match=r"damaged: can't be read: decoding it ended the decoder \(SIG\w+: the file"
    ):
        list(RowSource(_format([str(tmp_path / "damaged")], "n", "tags"), ReadPlan(20)))
    (block,) = RowSource(_format([str(tmp_path / "whole")], "n", "tags"), ReadPlan(20))
    assert block.columns.to_pydict() == table.to_pydict()


def test_null_in_text_files_is_an_empty_cell(tmp_path: pathlib.Path) -> None:
    (tmp_path / "000000_0").write_bytes(b"1\x01\\N\n0\x01a\n")
    text = f"""train_input_path: "{tmp_path}" data_config {{ input_type: HiveInput separator: "\\001" batch_size: 4
      input_fields {{ input_name: "label" input_type: INT32 }} input_fields {{ input_name: "s" }} }}"""
    config = text_format.Parse(text, pipeline_pb2.EasyRecConfig())
    (block,) = open_source(config, fields=columns("label", "s"), training=False, paths=[str(tmp_path)])
    assert block.columns.to_pydict() == {"label": [b"1", b"0"], "s": [b"", b"a"]}
