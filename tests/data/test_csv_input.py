import bz2
import contextlib
import gzip
import lzma
import random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.files import list_files
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import ConfigError, DataError
from tests.data.reading import columns, csv_format

inputs = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cells(data, **plan):
    """All rows as tuples of bytes."""
    source = RowSource(data, ReadPlan(**{"batch_size": 5, **plan}))
    return [
        row for block in source for row in zip(*(c.to_pylist() for c in block.columns.columns), strict=True)
    ]


def text(folder, content, name="a.csv"):
    path = folder / name
    path.write_bytes(content)
    return [str(path)]


def test_columns_are_plain_binary_in_the_order_asked_for(tmp_path):
    data = csv_format(text(tmp_path, b"1,x,9\n,y,\n"), names=("a", "b", "c"))
    picked = CsvFormat(data.files, columns("c", "a"), ["a", "b", "c"])
    (block,) = RowSource(picked, ReadPlan(5))
    assert block.columns.schema == pa.schema([("c", pa.binary()), ("a", pa.binary())])
    assert block.columns.to_pydict() == {"c": [b"9", b""], "a": [b"1", b""]}
    block.columns.validate(full=True)


def test_keep_raw_adds_the_other_columns(tmp_path):
    files = list_files(text(tmp_path, b"1,x,9\n"))
    data = CsvFormat(files, columns("c"), ["a", "b", "c"], keep_raw=True)
    (block,) = RowSource(data, ReadPlan(5))
    assert block.columns.to_pydict() == {"c": [b"9"], "a": [b"1"], "b": [b"x"]}


@pytest.mark.parametrize(
    "content",
    [
        b"1,a\n2,b\n3,c\n",
        b"1,a\n2,b\n3,c",
        b"1,a\r\n2,b\r\n3,c\r\n",
        b"1,a\r\n2,b\r\n3,c",
        b"\xef\xbb\xbf1,a\n2,b\n3,c\n",
        b"\n\n1,a\n\n2,b\r\n\r\n3,c\n\n\n",
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_ends_of_lines(tmp_path, content, block):
    data = csv_format(text(tmp_path, content), block_bytes=block)
    assert cells(data) == [(b"1", b"a"), (b"2", b"b"), (b"3", b"c")]


def test_a_lone_carriage_return_is_text(tmp_path):
    data = csv_format(text(tmp_path, b"1\r2,\ra\r\r\n3,b\n"))
    assert cells(data) == [(b"1\r2", b"\ra\r"), (b"3", b"b")]


def test_quotes_are_text_by_default(tmp_path):
    data = csv_format(text(tmp_path, b'"1,a"\n2,"b\n'))
    assert cells(data) == [(b'"1', b'a"'), (b"2", b'"b')]


def test_quoting(tmp_path):
    content = b'"1,2","a ""b"" c"\n"",""""\nx"y,z\n"3",b\n'
    data = csv_format(text(tmp_path, content), quoting=True)
    assert cells(data) == [(b"1,2", b'a "b" c'), (b"", b'"'), (b'x"y', b"z"), (b"3", b"b")]


@pytest.mark.parametrize("row", [b'"1,a', b'"1"x,a', b'1,"', b'1,""a"'])
def test_broken_quotes_are_bad_rows(tmp_path, row):
    data = csv_format(text(tmp_path, b"0,z\n" + row + b"\n"), quoting=True)
    with pytest.raises(DataError, match=r"a\.csv, row 2: a quoted cell is not closed"):
        cells(data)


@pytest.mark.parametrize("separator", ["\t", "\001", "||", "abc", "::=", "\u2c63", "aa"])
@pytest.mark.parametrize("quoting", [False, True])
def test_separators_of_any_length(tmp_path, separator, quoting):
    rows = [("1", "x|y"), ("", ""), ("a:b", ":="), ("z" * 100, "\u00e9" * 40)]
    content = "".join(f"{a}{separator}{b}\n" for a, b in rows).encode()
    data = csv_format(text(tmp_path, content), separator=separator, quoting=quoting)
    assert cells(data) == [(a.encode(), b.encode()) for a, b in rows]


@pytest.mark.parametrize("separator", ["", "\n", "a\rb", '"'])
def test_separators_that_cannot_be(tmp_path, separator):
    with pytest.raises(ConfigError, match=r"data_config\.separator"):
        csv_format(text(tmp_path, b"1,a\n"), separator=separator)


@pytest.mark.parametrize("suffix", ["gz", "zst", "many.gz"])
def test_compressed_files(tmp_path, suffix):
    content = b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))
    path = tmp_path / f"a.csv.{suffix}"
    if suffix == "gz":
        path.write_bytes(gzip.compress(content))
    elif suffix == "many.gz":
        path.write_bytes(gzip.compress(content[:1001]) + gzip.compress(content[1001:]))
    else:
        path.write_bytes(pa.compress(content, codec="zstd", asbytes=True))
    assert cells(csv_format([str(path)], block_bytes=999)) == [
        (b"%d" % i, b"%d" % (i * i)) for i in range(5000)
    ]


def test_each_file_has_its_own_compression(tmp_path):
    plain = text(tmp_path, b"1,a\n")
    packed = text(tmp_path, gzip.compress(b"2,b\n"), "b.csv.gz")
    assert cells(csv_format(plain + packed)) == [(b"1", b"a"), (b"2", b"b")]


@pytest.mark.parametrize("content", [gzip.compress(b"1,a\n" * 1000)[:-20], b"1,a\n", b"\x1f\x8b\x08"])
def test_broken_compression_names_the_file(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.csv\.gz: can't be read: "):
        cells(csv_format(text(tmp_path, content, "a.csv.gz")))


class TestHeader:
    def test_gives_names_and_order_by_file(self, tmp_path):
        paths = text(tmp_path, b"x,n,at\n0,1,a\n", "a.csv") + text(tmp_path, b"at,n\r\nb,2\r\n", "b.csv")
        paths += text(tmp_path, b"", "c.csv") + text(tmp_path, b"at,n", "d.csv")
        assert cells(csv_format(paths, with_header=True)) == [(b"1", b"a"), (b"2", b"b")]

    def test_shuffled_rows_of_files_with_different_headers(self, tmp_path):
        paths = text(tmp_path, b"n,at\n" + b"".join(b"%d,a\n" % i for i in range(40)), "a.csv")
        paths += text(tmp_path, b"q,at,n\n" + b"".join(b"?,b,%d\n" % i for i in range(40)), "b.csv")
        data = csv_format(paths, with_header=True, block_bytes=64)
        rows = cells(data, shuffle=True, shuffle_buffer=70)
        assert sorted(rows) == sorted((b"%d" % i, f) for i in range(40) for f in (b"a", b"b"))
        # The buffer contains rows of both files.
        assert len({f for _, f in rows[:20]}) == 2

    @pytest.mark.parametrize(
        "content",
        [b"\xef\xbb\xbfn,at\n1,a\n", b"\n\r\nn,at\n\n1,a\n", b" n , at\n1,a\n"],
    )
    def test_byte_order_mark_empty_lines_and_spaces(self, tmp_path, content):
        for block in (1, 4, 1000):
            assert cells(csv_format(text(tmp_path, content), with_header=True, block_bytes=block)) == [
                (b"1", b"a")
            ]

    def test_quoted(self, tmp_path):
        data = csv_format(text(tmp_path, b'"n","at"\n"1",a\n'), with_header=True, quoting=True)
        assert cells(data) == [(b"1", b"a")]

    def test_counts_as_a_line(self, tmp_path):
        data = csv_format(text(tmp_path, b"\nn,at\n1,a\n2\n"), with_header=True)
        with pytest.raises(DataError, match=r"a\.csv, row 4: found 1 columns, expected 2"):
            cells(data)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (b"n,other", "row 1: no column is named at in the header"),
            (b"n,at,n", "row 1: 2 columns are named n in the header"),
            (b"n,\xff", "row 1: the header is not UTF-8 text"),
        ],
    )
    def test_wrong_names(self, tmp_path, header, message):
        paths = text(tmp_path, b"n,at\n1,a\n") + text(tmp_path, header + b"\n1,2\n", "b.csv")
        with pytest.raises(DataError, match=r"b\.csv, " + message):
            cells(csv_format(paths, with_header=True))

    def test_duplicates_that_nobody_reads_do_no_harm(self, tmp_path):
        assert cells(csv_format(text(tmp_path, b"z,n,at,z\n0,1,a,0\n"), with_header=True)) == [(b"1", b"a")]

    def test_selected_columns_must_hold_what_is_needed(self, tmp_path):
        paths = text(tmp_path, b"x,n,at,y\n0,1,a,9\n")
        data = csv_format(paths, with_header=True, selected=["at", "n", "y"], keep_raw=True)
        assert cells(data) == [(b"1", b"a", b"9")]
        with pytest.raises(ConfigError, match=r"selected_cols: the model also needs at"):
            csv_format(paths, with_header=True, selected=["n"])

    def test_keep_raw_takes_the_names_of_the_first_header(self, tmp_path):
        paths = text(tmp_path, b"", "0.csv") + text(tmp_path, b"x,n,at\n0,1,a\n")
        assert cells(csv_format(paths, with_header=True, keep_raw=True)) == [(b"1", b"a", b"0")]


def test_undeclared_field(tmp_path):
    with pytest.raises(ConfigError, match=r"input_fields: there is no field q"):
        CsvFormat(list_files(text(tmp_path, b"1\n")), columns("q"), ["n"])


class TestBadRows:
    content = b"".join(b"%d,a\n" % i if i not in (37, 61) else b"%d,a,b\n" % i for i in range(80))

    @pytest.mark.parametrize("size", [1, 2, 3, 8])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_stop_the_run_by_default(self, tmp_path, size, shuffle):
        paths = text(tmp_path, b"0,z\n" * 50, "0.csv") + text(tmp_path, self.content)
        failures = []
        for rank in range(size):
            data = csv_format(paths, block_bytes=50)
            plan = ReadPlan(4, rank, size, 1, shuffle, 20)
            try:
                list(RowSource(data, plan))
            except DataError as error:
                failures.append(str(error))
        assert failures
        assert all(
            f.endswith(
                (
                    "a.csv, row 38: found 3 columns, expected 2",
                    "a.csv, row 62: found 3 columns, expected 2",
                )
            )
            for f in failures
        )

    @pytest.mark.parametrize("size", [1, 2, 3, 8])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_are_left_out_and_counted_with_ignore_error(self, tmp_path, size, shuffle):
        data = csv_format(text(tmp_path, self.content), block_bytes=50)
        rows, bad, clean = [], 0, []
        for rank in range(size):
            plan = {"batch_size": 4, "rank": rank, "size": size, "shuffle": shuffle, "shuffle_buffer": 20}
            source = RowSource(data, ReadPlan(**plan, ignore_error=True))
            blocks = list(source)
            clean.append(len(blocks))
            rows += [int(v) for block in blocks for v in block.columns.column(0).to_pylist()]
            for block in blocks:
                for i, value in enumerate(block.columns.column(0).to_pylist()):
                    assert block.locate(i).endswith(f"row {int(value) + 1}")
            bad += sum(block.bad_rows for block in blocks)
            assert source.rows == sum(block.columns.num_rows for block in blocks)
            assert all((block.first_bad is None) == (block.bad_rows == 0) for block in blocks)
            assert all(block.columns.num_rows + block.bad_rows == 4 for block in blocks[: 76 // 4 // size])
        assert sorted(rows) == [i for i in range(80) if i not in (37, 61)]
        assert bad == 2
        assert len(set(clean)) == 1

    def test_do_not_move_positions(self, tmp_path):
        data = csv_format(text(tmp_path, self.content))
        positions = [b.position.row for b in RowSource(data, ReadPlan(16, ignore_error=True))]
        assert positions == [16, 32, 48, 64, 0]

    @pytest.mark.parametrize(("row", "count"), [(b"1", 1), (b"1,2,3", 3), (b" ", 1), (b"," * 9, 10)])
    def test_count_of_columns(self, tmp_path, row, count):
        data = csv_format(text(tmp_path, b"\r\n1,2\n" + row))
        with pytest.raises(DataError, match=rf"a\.csv, row 3: found {count} columns, expected 2"):
            cells(data)


def test_a_line_longer_than_a_block(tmp_path):
    long = b"x" * 100_000
    data = csv_format(text(tmp_path, b"1,a\n" + long + b"," + long + b"\n2,b"), block_bytes=64)
    assert cells(data) == [(b"1", b"a"), (long, long), (b"2", b"b")]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("hvdrec.data.text_reader._LONGEST_LINE", 1000)
    data = csv_format(text(tmp_path, b"1,a\n" + b"x" * 5000), block_bytes=64)
    with pytest.raises(DataError, match=r"a\.csv, row 2: the line is longer than"):
        cells(data)


def model(content, separator, width):
    """The content of a file, by definition: good rows, and the first bad row's line."""
    rows = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        line = line.removesuffix(b"\r")
        if line:
            found = line.split(separator)
            rows.append((number, tuple(found) if len(found) == width else None))
    return rows


some_bytes = st.lists(
    st.sampled_from([b",", b"\n", b"\r", b'"', b"a", b"bc", b"\x00", b"\xff", b"\xef\xbb\xbf", b"d" * 40]),
    max_size=60,
).map(b"".join)


@inputs
@given(content=some_bytes | st.binary(max_size=200), block=st.integers(1, 80), width=st.integers(1, 4))
@example(content=b"\xef\xbb\xbf", block=1, width=1)
@example(content=b"\r", block=1, width=1)
def test_any_bytes_give_the_rows_that_are_in_them(tmp_path_factory, content, block, width):
    paths = text(tmp_path_factory.mktemp("bytes"), content)
    names = [f"c{i}" for i in range(width)]
    rows = model(content, b",", width)
    good = [row for _, row in rows if row is not None]
    bad = [number for number, row in rows if row is None]
    data = csv_format(paths, names=names, block_bytes=block)
    if not rows:
        with pytest.raises(DataError, match="the input has no rows"):
            cells(data)
        return
    assert cells(data, ignore_error=True) == good
    blocks = RowSource(data, ReadPlan(3, ignore_error=True))
    places = [block.locate(i) for block in blocks for i in range(block.columns.num_rows)]
    assert places == [f"{paths[0]}, row {number}" for number, row in rows if row is not None]
    if bad:
        with pytest.raises(DataError, match=rf"row {bad[0]}: "):
            cells(data, batch_size=1)


@inputs
@given(
    content=some_bytes | st.binary(max_size=200),
    header=st.booleans(),
    separator=st.sampled_from([",", "a", "bc"]),
)
def test_any_bytes_never_crash_with_quoting_and_headers(tmp_path_factory, content, header, separator):
    paths = text(tmp_path_factory.mktemp("bytes"), content)
    options = {"names": ("a", "bc"), "with_header": header, "separator": separator, "block_bytes": 9}
    with contextlib.suppress(DataError):
        found = cells(csv_format(paths, quoting=True, **options), ignore_error=True)
        data = csv_format(paths, quoting=True, **options)
        assert sorted(cells(data, ignore_error=True, shuffle=True, shuffle_buffer=3)) == sorted(found)
        assert {len(row) for row in found} <= {2}


quoted_cells = st.text(st.sampled_from('a",|é x'), max_size=6)


@inputs
@given(rows=st.lists(st.tuples(quoted_cells, quoted_cells), min_size=1, max_size=8))
def test_quoted_cells_come_back(tmp_path_factory, rows):
    def quote(cell):
        doubled = cell.replace('"', '""')
        return f'"{doubled}"'

    content = "".join(f"{quote(a)},{quote(b)}\n" for a, b in rows).encode()
    data = csv_format(text(tmp_path_factory.mktemp("quotes"), content), quoting=True)
    assert cells(data) == [(a.encode(), b.encode()) for a, b in rows]


def test_values_of_all_lengths_survive_the_split(tmp_path):
    generator = random.Random(1)
    rows = [
        (*(bytes(generator.choices(b"abcdefgh", k=generator.randrange(80))) for _ in range(40)), b"end")
        for _ in range(300)
    ]
    names = [f"c{i}" for i in range(41)]
    data = csv_format(text(tmp_path, b"".join(b",".join(r) + b"\n" for r in rows)), names=names)
    assert cells(data, batch_size=64) == rows


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1\x15\x04", "is a Parquet file; read it with data_config.input_type: ParquetInput"),
        (b"ORC\x1d\x00", "is an ORC file"),
        (gzip.compress(b"1,a\n"), "is compressed by gzip; its name must then end in .gz"),
        (b"\x28\xb5\x2f\xfd\x24", "is compressed by zstd"),
        (bz2.compress(b"1,a\n"), "is compressed by bzip2, which is not supported; unpack it"),
        (lzma.compress(b"1,a\n"), "is compressed by xz, which is not supported"),
        (b"PK\x03\x04\x14", "is a zip archive"),
        ("1,a\n".encode("utf-16"), "is text in UTF-16"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path, content, what):
    with pytest.raises(DataError, match=rf"a.csv: {what}"):
        cells(csv_format(text(tmp_path, content)))


def test_words_that_begin_like_other_files_are_text(tmp_path):
    data = csv_format(text(tmp_path, b"PAR1,a\nORC,b\n"))
    assert cells(data) == [(b"PAR1", b"a"), (b"ORC", b"b")]


def test_a_header_without_a_column_is_told_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match="no column is named at in the header; did you mean At\\?"):
        cells(csv_format(text(tmp_path, b"n,At\n1,a\n"), with_header=True))


def test_a_text_for_null_is_an_empty_cell(tmp_path):
    data = csv_format(text(tmp_path, b"1,\\N\n\\N,\\Na\n"), null=b"\\N")
    assert cells(data) == [(b"1", b""), (b"", b"\\Na")]
