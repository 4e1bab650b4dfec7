"""RTPInput: labels and features in one line, against the rows they were written from."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdrec.data.files import list_files
from hvdrec.data.rtp_input import RtpFormat
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import ConfigError, DataError
from tests.data.reading import check_order, columns

FIELDS = ["clk", "buy", "user", "tags", "price"]


def rtp_format(path, *names, **options):
    defaults = {"labels": ["clk", "buy"], "selected": [0, 2, 3], "rtp_separator": ";", "separator": "\x02"}
    return RtpFormat(list_files([str(path)]), columns(*(names or FIELDS)), FIELDS, **{**defaults, **options})


def rows_of(data, **plan):
    found = []
    for block in RowSource(data, ReadPlan(**{"batch_size": 3, **plan})):
        found += zip(*(c.to_pylist() for c in block.columns.columns), strict=True)
    return found


def write(folder, content):
    path = folder / "a.txt"
    path.write_bytes(content)
    return path


def test_labels_and_features_by_their_places(tmp_path):
    path = write(tmp_path, b"1;id7;0;u1\x02a\x03b\x021.5\n0;id8;1;\x02\x02\n")
    assert rows_of(rtp_format(path)) == [
        (b"1", b"0", b"u1", b"a\x03b", b"1.5"),
        (b"0", b"1", b"", b"", b""),
    ]
    assert rows_of(rtp_format(path, "price", "buy")) == [(b"1.5", b"0"), (b"", b"1")]
    # The features needn't come last, nor labels in order.
    moved = write(tmp_path, b"u1\x02a\x021.5;0;1\n")
    assert rows_of(rtp_format(moved, selected=[2, 1, 0])) == [(b"1", b"0", b"u1", b"a", b"1.5")]


def test_keep_raw_adds_the_other_fields(tmp_path):
    path = write(tmp_path, b"1;x;0;u\x02t\x022\n")
    data = rtp_format(path, "price", keep_raw=True)
    assert rows_of(data) == [(b"2", b"1", b"0", b"u", b"t")]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\n\r;#\x02\x00"), max_size=40)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    table=st.lists(st.tuples(*[cells] * 5), min_size=1, max_size=30),
    separators=st.sampled_from([(";", "\x02"), ("#\x02", ";"), (";;", "#")]),
    block=st.integers(1, 200),
)
def test_any_cells(tmp_path_factory, table, separators, block):
    outer, inner = separators
    lines = [outer.join(["x", *row[:2], inner.join(row[2:])]) for row in table]
    path = tmp_path_factory.mktemp("rows") / "a.txt"
    path.write_text("\n".join(lines), newline="")
    data = rtp_format(path, selected=[1, 2, 3], rtp_separator=outer, separator=inner, block_bytes=block)
    assert rows_of(data) == [tuple(cell.encode() for cell in row) for row in table]


def test_the_order_is_that_of_text_files(tmp_path):
    sizes = [7, 0, 12]
    paths, number = [], 0
    for i, size in enumerate(sizes):
        paths.append(str(tmp_path / f"part-{i}.txt"))
        with open(paths[-1], "w") as file:
            for row in range(size):
                file.write(f"0|{number}:{i}-{row}\n")
                number += 1
    data = RtpFormat(
        list_files(paths),
        columns("n", "at"),
        ["label", "n", "at"],
        labels=["label"],
        selected=[0, 1],
        rtp_separator="|",
        separator=":",
    )
    check_order(data, sizes, 3, 2, True, 5, paths)


def test_bad_rows_are_told_by_their_place(tmp_path):
    path = write(tmp_path, b"1;x;0;u\x02t\x022\n1;x;0\n1;x;0;u\x02t\n1;x;0;u t 2\n")
    with pytest.raises(DataError, match=r"a\.txt, row 2: found 3 columns, but the file's first row has 4$"):
        rows_of(rtp_format(path))
    source = RowSource(rtp_format(path), ReadPlan(batch_size=5, ignore_error=True))
    (block,) = source
    assert (block.columns.num_rows, block.bad_rows) == (1, 3)
    other = write(tmp_path, b"1;x;0;u\x02t\x022\n1;x;0;u\x02t\n")
    with pytest.raises(DataError, match=r"row 2: found 2 features, expected 3$"):
        rows_of(rtp_format(other))
    comma = write(tmp_path, b"1;x;0;u,t,2\n")
    with pytest.raises(DataError, match=r"found 1 features, expected 3; check data_config.separator"):
        rows_of(rtp_format(comma))


def test_the_first_row_must_have_the_selected_columns(tmp_path):
    path = write(tmp_path, b"\n1,x,0,u\n")
    with pytest.raises(
        DataError, match=r"found 1 columns separated by ';', but data_config.selected_cols names column 3"
    ):
        rows_of(rtp_format(path))


def test_selected_cols_must_fit_the_labels(tmp_path):
    path = write(tmp_path, b"1\n")
    with pytest.raises(
        ConfigError, match="names 2 columns; RTPInput needs one for each of the 2 label_fields"
    ):
        rtp_format(path, selected=[0, 1])
