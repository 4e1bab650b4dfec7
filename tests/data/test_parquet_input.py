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
        pa.decimal128(10, 2),
        pa.list_(pa.string()),
        pa.list_(pa.int32()),
    ]
    assert block.columns.to_pydict() == table.to_pydict()


def test_projection_and_keep_raw(tmp_path):
    table = pa.table({"a": [1], "b": ["x"], "c": [2.0]})
    (block,) = RowSource(table_format(tmp_path, table, "c"), ReadPlan(3))
    assert block.columns.to_pydict() == {"c": [2.0]}
    (block,) = RowSource(table_format(tmp_path, table, "c", keep_raw=True), ReadPlan(3))
    assert block.columns.to_pydict() == {"c": [2.0], "a": [1], "b": ["x"]}


def joined(tmp_path, declared, *values):
    """The column v of files with these values, all in one block."""
    paths = [str(tmp_path / f"{i}.parquet") for i in range(len(values))]
    for path, column in zip(paths, values, strict=True):
        pq.write_table(pa.table({"v": column}), path)
    kinds = {"v": declared} if declared else {}
    (block,) = RowSource(parquet_format(paths, "v", declared=kinds), ReadPlan(100))
    return block.columns.column("v")


INT, DOUBLE, TEXT = pa.array([1, None]), pa.array([2.0, 3.5]), pa.array(["4", ""])


@pytest.mark.parametrize("declared", ["STRING", "INT64", "DOUBLE", "BOOL", None])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_files_of_other_types_come_in_one_that_has_all_values(tmp_path, declared, order):
    columns = [INT, DOUBLE, TEXT]
    texts = [["1", None], ["2", "3.5"], ["4", ""]]
    found = joined(tmp_path, declared, *(columns[i] for i in order))
    assert found.type == pa.string()
    assert found.to_pylist() == [text for i in order for text in texts[i]]


@pytest.mark.parametrize("declared", ["STRING", "INT32", "INT64", "FLOAT", "DOUBLE", "BOOL", None])
@pytest.mark.parametrize("other", [INT, DOUBLE, TEXT, pa.array([True, None]), pa.array([b"x", None])])
@pytest.mark.parametrize("lists", [False, True])
def test_a_file_without_values_decides_nothing(tmp_path, declared, other, lists):
    if lists:
        other = pa.ListArray.from_arrays([0, 1, 2], other)
    nothing = [pa.nulls(2), pa.array([[], None], pa.list_(pa.null()))][: 1 + lists]
    for empty in nothing:
        for parts in ([empty, other], [other, empty]):
            found = joined(tmp_path, declared, *parts)
            assert found.type == other.type
            assert found.to_pylist() == [value for column in parts for value in column.to_pylist()]


@pytest.mark.parametrize("declared", ["STRING", "INT64", None])
def test_whole_numbers_stay_whole_beside_missing_ones(tmp_path, declared):
    found = joined(tmp_path, declared, pa.array([2**60 + 1]), pa.array([3.0, None]), pa.array([7], pa.int8()))
    assert found.type == pa.int64()
    assert found.to_pylist() == [2**60 + 1, 3, None, 7]


def test_numbers_of_any_width_are_fractions_where_they_are_declared_so(tmp_path):
    columns = [pa.array([1]), pa.array([0.5], pa.float32()), pa.array([0.1]), pa.array([2.5], pa.float16())]
    found = joined(tmp_path, "DOUBLE", *columns)
    assert found.type == pa.float64()
    assert found.to_pylist() == [1, 0.5, 0.1, 2.5]


@pytest.mark.parametrize("other", [pa.array([5]), pa.array(["2024-01-02"])])
def test_dates_are_no_words_beside_other_types(tmp_path, other):
    paths = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    pq.write_table(pa.table({"x": other}), paths[0])
    pq.write_table(pa.table({"x": pa.array([datetime.date(2024, 1, 2)])}), paths[1])
    data = parquet_format(paths, "x", declared={"x": "STRING"})
    with pytest.raises(
        DataError, match=r"b\.parquet, row 1, column 'x': has type date32\[day\], which can't be used"
    ):
        list(RowSource(data, ReadPlan(4)))


def test_lists_of_other_types_come_in_one(tmp_path):
    columns = [pa.array([[1, None], None]), pa.array([[2.0], []]), pa.array([["a", "b"]])]
    assert joined(tmp_path, "STRING", *columns).to_pylist() == [["1", None], None, ["2"], [], ["a", "b"]]
    with pytest.raises(DataError, match=r"1.parquet, row 1, column 'v': is a single string, but other files"):
        joined(tmp_path, "STRING", pa.array([["a"]]), pa.array(["a|b"]))


def test_what_is_no_number_is_no_word_either(tmp_path):
    with pytest.raises(DataError, match=r"1.parquet, row 2, column 'v': nan is not a finite number"):
        joined(tmp_path, "STRING", pa.array(["a"]), pa.array([1.0, float("nan")]))


@pytest.mark.parametrize(
    ("declared", "scale", "value", "found"),
    [
        ("STRING", 0, "12345678901234567890", "12345678901234567890"),
        ("STRING", 4, "1.2500", "1.25"),
        ("STRING", 4, "100.0000", "100"),
        ("STRING", 12, "0.000000012500", "0.0000000125"),
        ("STRING", 12, "0", "0"),
        ("INT64", 0, "-17", -17),
        ("INT64", 2, "17.00", "17"),
        ("INT64", 2, "17.50", "17.5"),
        ("DOUBLE", 2, "0.10", 0.1),
        ("FLOAT", 2, "0.10", 0.1),
        (None, 2, "0.10", decimal.Decimal("0.10")),
    ],
)
def test_decimals_keep_their_digits(tmp_path, declared, scale, value, found):
    digits = 16 if declared == "INT64" else 25
    column = pa.array([decimal.Decimal(value), None], pa.decimal128(digits, scale))
    assert joined(tmp_path, declared, column).to_pylist() == [found, None]
    lists = pa.ListArray.from_arrays([0, 1, 2], column)
    assert joined(tmp_path, declared, lists).to_pylist() == [[found], [None]]


def test_a_file_that_holds_fewer_rows_than_it_says_is_named(tmp_path, monkeypatch):
    data = parquet_format(write_files(tmp_path, [30], group=30), block_rows=10)
    decode = ParquetFormat.decode
    monkeypatch.setattr(ParquetFormat, "decode", lambda *args: itertools.islice(decode(*args), 2))
    with pytest.raises(DataError, match=r"part-000\.parquet: the data ends 10 rows before the row count"):
        list(RowSource(data, ReadPlan(5)))


def test_a_column_name_that_is_not_text_names_the_file(tmp_path):
    (path,) = write_files(tmp_path, [3])
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(b"at", b"\xff\xfe"))
    with pytest.raises(DataError, match=r"part-000\.parquet: can't be read: 'utf-8' codec can't decode"):
        parquet_format([path], "n")


def test_missing_column_names_the_file(tmp_path):
    paths = write_files(tmp_path, [3, 3])
    with pytest.raises(DataError, match=r"part-000\.parquet: no column is named q"):
        parquet_format(paths, "q")
    pq.write_table(pa.table({"n": [1]}), paths[1])
    with pytest.raises(DataError, match=r"part-001\.parquet: no column is named at"):
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


def test_a_value_that_stands_for_nothing_is_left_out(tmp_path):
    table = pa.table(
        {
            "n": pa.array([1, -1, None, 4], pa.int64()),
            "f": pa.array([0.5, -1.0, 2.0, None], pa.float64()),
            "s": pa.array(["a", "-1", None, "-1.0"], pa.string()),
            "l": pa.array([[1, -1, 2], [-1], None, [3]], pa.list_(pa.int64())),
            "t": pa.array([["-1", "x"], [], None, ["y", "-1", "-1"]], pa.list_(pa.string())),
        }
    )
    ignored = dict.fromkeys(table.schema.names, "-1")
    data = table_format(tmp_path, table, *table.schema.names, ignored=ignored, block_rows=3)
    blocks = list(RowSource(data, ReadPlan(batch_size=4)))
    found = {name: [v for b in blocks for v in b.columns.column(name).to_pylist()] for name in ignored}
    assert found == {
        "n": [1, None, None, 4],
        "f": [0.5, None, 2.0, None],
        "s": ["a", None, None, "-1.0"],
        "l": [[1, 2], [], None, [3]],
        "t": [["x"], [], None, ["y"]],
    }
    words = table_format(tmp_path, table, "n", ignored={"n": "none"})
    assert next(iter(RowSource(words, ReadPlan(batch_size=4)))).columns.column("n").to_pylist() == [
        1,
        -1,
        None,
        4,
    ]
