import datetime
import decimal
import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdrec.data.files import list_files
from hvdrec.data.parquet_input import ParquetFormat
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import DataError
from tests.data.reading import check_order, columns, numbers

inputs = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def write_files(folder, sizes, group=100):
    """Files of rows (n: row number over all files, at: "<file>-<row>")."""
    number = itertools.count()
    paths = []
    for i, size in enumerate(sizes):
        table = pa.table(
            {
                "at": pa.array([f"{i}-{row}" for row in range(size)], pa.string()),
                "n": pa.array([next(number) for _ in range(size)], pa.int64()),
            }
        )
        paths.append(str(folder / f"part-{i:03d}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=group)
    return paths


def parquet_format(paths, *names, **options):
    return ParquetFormat(list_files(paths), columns(*(names or ("n", "at"))), **options)


def table_format(folder, table, *names, **options):
    path = folder / "a.parquet"
    pq.write_table(table, path)
    return parquet_format([str(path)], *names, **options)


@inputs
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5).filter(any),
    group=st.integers(1, 40),
    block=st.integers(1, 30),
    size=st.integers(1, 5),
    batch=st.integers(1, 12),
    shuffle=st.booleans(),
    buffer=st.integers(1, 120),
)
def test_the_order_is_that_of_text_files(tmp_path_factory, sizes, group, block, size, batch, shuffle, buffer):
    paths = write_files(tmp_path_factory.mktemp("rows"), sizes, group)
    data = parquet_format(paths, block_rows=block)
    check_order(data, sizes, batch, size, shuffle, buffer, paths)


@pytest.mark.parametrize("shuffle", [False, True])
def test_resume(tmp_path, shuffle):
    data = parquet_format(write_files(tmp_path, [130, 70], 32), block_rows=10)
    plan = ReadPlan(9, epochs=2, shuffle=shuffle, shuffle_buffer=25)
    blocks = list(RowSource(data, plan))
    for done in (1, 10, 23, len(blocks)):
        rest = numbers(RowSource(data, plan, blocks[done - 1].position))
        assert rest == numbers(blocks[done:])


def test_all_types(tmp_path):
    table = pa.table(
        {
            "bool": pa.array([True, None, False]),
            "int8": pa.array([1, 2, None], pa.int8()),
            "uint16": pa.array([1, 2, 3], pa.uint16()),
            "int32": pa.array([1, None, 3], pa.int32()),
            "int64": pa.array([1, 2**60, 3], pa.int64()),
            "float": pa.array([1.5, None, 3], pa.float32()),
            "double": pa.array([1.5, 2.5, 3], pa.float64()),
            "string": pa.array(["a", "", None]),
            "binary": pa.array([b"a", b"\xff", None]),
            "list": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
            "strings": pa.array([["a"], ["b", None], []], pa.list_(pa.string())),
            "map": pa.array([[("a", 1.0)], [], None], pa.map_(pa.string(), pa.float32())),
            "date": pa.array([datetime.date(2020, 1, 2)] * 3),
        }
    )
    data = table_format(tmp_path, table, *table.column_names)
    (block,) = RowSource(data, ReadPlan(3))
    assert block.columns.schema.types == table.schema.types
    assert block.columns.to_pydict() == table.to_pydict()


def test_special_forms_become_plain_types(tmp_path):
    table = pa.table(
        {
            "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
            "large": pa.array(["a", "b", "c"], pa.large_string()),
            "decimal": pa.array([decimal.Decimal("1.25")] * 3, pa.decimal128(10, 2)),
            "large_list": pa.array([["a"], [], None], pa.large_list(pa.large_string())),
            "fixed": pa.array([[1, 2]] * 3, pa.list_(pa.int32(), 2)),
        }
    )
    data = table_format(tmp_path, table, *table.column_names)
    (block,) = RowSource(data, ReadPlan(3))
    assert block.columns.schema.types == [
        pa.string(),
        pa.string(),
        pa.float64(),
        pa.list_(pa.string()),
        pa.list_(pa.int32()),
    ]
    assert block.columns.to_pydict() == {**table.to_pydict(), "decimal": [1.25] * 3}


def test_projection_and_keep_raw(tmp_path):
    table = pa.table({"a": [1], "b": ["x"], "c": [2.0]})
    (block,) = RowSource(table_format(tmp_path, table, "c"), ReadPlan(3))
    assert block.columns.to_pydict() == {"c": [2.0]}
    (block,) = RowSource(table_format(tmp_path, table, "c", keep_raw=True), ReadPlan(3))
    assert block.columns.to_pydict() == {"c": [2.0], "a": [1], "b": ["x"]}


def test_types_are_those_of_the_first_file(tmp_path):
    for name, kind, value in [("a", pa.int64(), 1), ("b", pa.int32(), 2), ("c", pa.string(), "x")]:
        pq.write_table(pa.table({"v": pa.array([value], kind)}), tmp_path / f"{name}.parquet")
    a, b, c = (str(tmp_path / f"{name}.parquet") for name in "abc")
    (block,) = RowSource(parquet_format([a, b], "v"), ReadPlan(3))
    assert block.columns.to_pydict() == {"v": [1, 2]}
    assert block.columns.schema.types == [pa.int64()]
    with pytest.raises(DataError, match=r"c\.parquet, column v: values of type string don't fit int64"):
        list(RowSource(parquet_format([a, c], "v"), ReadPlan(3)))


def test_missing_column_names_the_file(tmp_path):
    paths = write_files(tmp_path, [3, 3])
    with pytest.raises(DataError, match=r"part-000\.parquet: no column is called q"):
        parquet_format(paths, "q")
    pq.write_table(pa.table({"n": [1]}), paths[1])
    with pytest.raises(DataError, match=r"part-001\.parquet: no column is called at"):
        list(RowSource(parquet_format(paths), ReadPlan(3)))


def test_not_a_parquet_file(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"1,2,3\n")
    with pytest.raises(DataError, match=r"a\.parquet: can't be read: "):
        parquet_format([str(path)], "n")


def test_damaged_pages_name_the_file(tmp_path):
    (path,) = write_files(tmp_path, [10_000])
    with open(path, "r+b") as file:
        file.seek(200)
        file.write(b"\xff" * 2000)
    with pytest.raises(DataError, match=r"part-000\.parquet: can't be read: "):
        list(RowSource(parquet_format([path]), ReadPlan(30)))


def test_row_groups_without_own_rows_are_not_decoded(tmp_path, monkeypatch):
    data = parquet_format(write_files(tmp_path, [400], group=100))
    decoded = []
    decode = ParquetFormat.decode

    def spy(self, number, file, group):
        decoded.append(group)
        yield from decode(self, number, file, group)

    monkeypatch.setattr(ParquetFormat, "decode", spy)
    assert numbers(RowSource(data, ReadPlan(100, rank=1, size=4)))[0] == list(range(100, 200))
    assert decoded == [1]


def test_rows_held_in_memory_are_bounded(tmp_path):
    paths = write_files(tmp_path, [50_000] * 2, group=20_000)
    for plan in [ReadPlan(64, 1, 3), ReadPlan(64, 1, 3, 1, True, 300)]:
        source = RowSource(parquet_format(paths, block_rows=1000), plan)
        assert sum(len(block) for block in numbers(source)) == pytest.approx(100_000 / 3, abs=64)
        assert source.peak_rows < 600 + 64 * 3 + 4 * 1000
