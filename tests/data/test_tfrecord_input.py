"""TFRecord files, written by TensorFlow, which also defines the expected content."""

import gzip
import zlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdrec.data.files import list_files
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.data.tfrecord_input import TfRecordFormat
from hvdrec.errors import ConfigError, DataError
from hvdrec.ops.native import load_native
from tests.data.reading import check_order, columns

inputs = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def feature(value):
    """The Feature of an int, a float, bytes, or a list of them; None: one without any."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(row):
    features = {name: feature(value) for name, value in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def sequences(rows):
    """A SequenceExample of rows of the same names."""
    lists = {name: tf.train.FeatureList(feature=[feature(row[name]) for row in rows]) for name in rows[0]}
    return tf.train.SequenceExample(
        feature_lists=tf.train.FeatureLists(feature_list=lists)
    ).SerializeToString()


def write(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as file:
        for record in records:
            file.write(record)
    return path


def record_format(path, *names, **options):
    widths = options.pop("widths", {})
    declared = {name: widths.get(name, 1) for name in names}
    paths = [str(each) for each in (path if isinstance(path, list) else [path])]
    return TfRecordFormat(list_files(paths), columns(*names), declared, **options)


def rows_of(data, **plan):
    found = []
    for block in RowSource(data, ReadPlan(**{"batch_size": 7, **plan})):
        block.columns.validate(full=True)
        found += block.columns.to_pylist()
    return found


def test_columns_have_the_types_of_their_values(tmp_path):
    rows = [{"i": -3, "f": 0.5, "t": b"a\xff"}, {"i": 1 << 62, "f": -1.0, "t": b""}]
    data = record_format(write(tmp_path / "a", map(example, rows)), "t", "i", "f")
    (block,) = RowSource(data, ReadPlan(5))
    assert block.columns.schema == pa.schema([("t", pa.binary()), ("i", pa.int64()), ("f", pa.float64())])
    assert block.columns.to_pylist() == rows


def test_what_an_example_lacks_is_null(tmp_path):
    rows = [{"i": 3, "t": b"x"}, {"f": 0.25}, {"i": None, "t": b"y"}]
    data = record_format(write(tmp_path / "a", map(example, rows)), "i", "f", "t", "other")
    assert rows_of(data) == [
        {"i": 3, "f": None, "t": b"x", "other": None},
        {"i": None, "f": 0.25, "t": None, "other": None},
        {"i": None, "f": None, "t": b"y", "other": None},
    ]


def test_values_of_several_types_become_text(tmp_path):
    rows = [{"m": 12}, {"m": 0.5}, {"m": b"t"}, {}, {"m": 1e-7}]
    data = record_format(write(tmp_path / "a", map(example, rows)), "m")
    assert [row["m"] for row in rows_of(data)] == [b"12", b"0.5", b"t", None, b"0.0000001"]


values = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(width=32, allow_nan=False),
    st.binary(max_size=300),
)


@inputs
@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abcdefg"), values), min_size=1, max_size=40),
    block=st.integers(1, 400),
    compression=st.sampled_from(["", "GZIP", "ZLIB"]),
    buffer=st.integers(1, 20),
)
def test_any_examples(tmp_path_factory, rows, block, compression, buffer):
    path = write(tmp_path_factory.mktemp("rows") / "a", map(example, rows), compression)
    data = record_format(path, *"abcd", block_bytes=block, compression=compression)
    kinds = {n: {type(row[n]) for row in rows if row.get(n) is not None} for n in "abcd"}
    found = rows_of(data, batch_size=max(len(rows), 1))
    for name in "abcd":
        if len(kinds[name]) <= 1:
            assert [row[name] for row in found] == [row.get(name) for row in rows]
    shuffled = rows_of(data, batch_size=5, shuffle=True, shuffle_buffer=buffer)
    assert len(shuffled) == len(rows)


@inputs
@given(
    groups=st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any),
    block=st.integers(1, 300),
    buffer=st.integers(1, 20),
    size=st.integers(1, 3),
)
def test_sequence_examples_hold_several_rows(tmp_path_factory, groups, block, buffer, size):
    numbers = iter(range(1000))
    rows = [[{"n": next(numbers), "at": b""} for _ in range(count)] for count in groups]
    place = 0
    for group in rows:
        for row in group:
            row["at"] = f"0-{place}".encode()
            place += 1
    empty = tf.train.SequenceExample().SerializeToString()
    path = tmp_path_factory.mktemp("rows") / "a"
    write(path, [sequences(group) if group else empty for group in rows])
    data = record_format(path, "n", "at", sequences=True, block_bytes=block)
    flat = [row for group in rows for row in group]
    assert rows_of(data) == flat
    check_order(data, [len(flat)], 3, size, True, buffer, [str(path)])


def test_rows_of_vectors(tmp_path):
    rows = [{"v": [1.0, 2.0], "n": 1}, {"v": [3.0, 4.0], "n": 2}]
    short = [{"v": [5.0, 6.0], "n": 3}, {"v": None, "n": 4}]
    path = write(tmp_path / "a", [sequences(rows), sequences(short)])
    data = record_format(path, "v", "n", sequences=True, widths={"v": 2})
    assert [row["v"] for row in rows_of(data)] == [[1, 2], [3, 4], [5, 6], []]


def test_a_wrong_number_of_values_is_told(tmp_path):
    path = write(tmp_path / "a", [example({"a": 1}), example({"a": [1, 2]})])
    with pytest.raises(DataError, match=r"a, row 2: column 'a': found 2 values, expected 1$"):
        rows_of(record_format(path, "a"))
    source = RowSource(record_format(path, "a"), ReadPlan(batch_size=5, ignore_error=True))
    assert [(block.columns.num_rows, block.bad_rows) for block in source] == [(1, 1)]
    uneven = tf.train.SequenceExample(
        feature_lists=tf.train.FeatureLists(
            feature_list={
                "a": tf.train.FeatureList(feature=[feature(1), feature(2)]),
                "b": tf.train.FeatureList(feature=[feature(1)]),
            }
        )
    )
    path = write(tmp_path / "b", [uneven.SerializeToString()])
    with pytest.raises(DataError, match="b, row 2: 'b' has only 1 of the rows of its record"):
        rows_of(record_format(path, "a", "b", sequences=True))


def test_checksums_are_tensorflows():
    native = load_native()
    # RFC 3720's, rotated and with TensorFlow's constant added.
    crc = 0x8A9136AA
    assert native.masked_crc32c(bytes(32)) == ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


def test_damage_is_told(tmp_path):
    content = bytearray(write(tmp_path / "a", [example({"a": i}) for i in range(3)]).read_bytes())
    record = len(content) // 3

    def found(name, changed):
        (tmp_path / name).write_bytes(changed)
        return rows_of(record_format(tmp_path / name, "a"))

    data = content.copy()
    data[record + 14] ^= 1
    with pytest.raises(DataError, match="row 2: the checksum of its record is wrong: the file is damaged"):
        found("data", data)
    length = content.copy()
    length[2 * record] ^= 1
    with pytest.raises(
        DataError, match="row 3: the checksum of a record's length is wrong: the file is damaged"
    ):
        found("length", length)
    with pytest.raises(DataError, match="row 3: the file ends within a record"):
        found("cut", content[:-1])
    other = write(tmp_path / "other", [b"\xff\xff"])
    with pytest.raises(DataError, match=r"row 1: it is not a tf\.Example"):
        rows_of(record_format(other, "a"))
    with pytest.raises(DataError, match=r"row 1: it is not in a tf\.SequenceExample"):
        rows_of(record_format(other, "a", sequences=True))


def test_no_damage_hides_a_record_of_several_rows(tmp_path):
    """Damaged bytes may look like any number of rows, or none."""
    groups = [[{"a": i, "b": b"t" * i}, {"a": i, "b": b"u"}] for i in range(3)]
    path = write(tmp_path / "a", map(sequences, groups))
    content = path.read_bytes()
    first = 16 + len(sequences(groups[0]))
    for place in range(first + 12, first + 12 + len(sequences(groups[1]))):
        path.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
        with pytest.raises(DataError, match="row 3: the checksum of its record is wrong"):
            rows_of(record_format(path, "a", "b", sequences=True))


@inputs
@given(data=st.data())
def test_bytes_cut_flipped_and_inserted(tmp_path_factory, data):
    """What is left of a damaged file is a clear error, or rows."""
    folder = tmp_path_factory.mktemp("rows")
    several = data.draw(st.booleans())
    rows = [{"a": i, "b": b"t" * i, "c": [0.5]} for i in range(6)]
    records = [sequences(rows[:3]), sequences(rows[3:])] if several else [example(row) for row in rows]
    if data.draw(st.booleans()):
        # Records with sound checksums and damaged contents.
        place = data.draw(st.integers(0, len(records) - 1))
        records[place] = damaged(data, records[place])
        path = write(folder / "a", records)
    else:
        path = write(folder / "a", records)
        path.write_bytes(damaged(data, path.read_bytes()))
    told, found = "", []
    try:
        found = rows_of(record_format(path, "a", "b", "c", sequences=several))
    except DataError as error:
        told = str(error)
    assert not told or told.startswith(f"{path}, row") or "the input has no rows" in told
    assert all(set(row) == {"a", "b", "c"} for row in found)


def damaged(data, content):
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        if not content:
            break
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
        if kind == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[at : at + data.draw(st.integers(1, 9))]
        elif kind == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "compress", "compression"),
    [("a.gz", gzip.compress, ""), ("a", gzip.compress, "GZIP"), ("a", zlib.compress, "ZLIB")],
)
def test_compressed_files(tmp_path, name, compress, compression):
    plain = write(tmp_path / "plain", [example({"a": i}) for i in range(500)]).read_bytes()
    (tmp_path / name).write_bytes(compress(plain))
    found = rows_of(record_format(tmp_path / name, "a", compression=compression, block_bytes=1000))
    assert [row["a"] for row in found] == list(range(500))
    (tmp_path / name).write_bytes(compress(plain)[:-100])
    with pytest.raises(DataError, match=f"{name}"):
        rows_of(record_format(tmp_path / name, "a", compression=compression))


def test_an_unknown_compression_is_refused(tmp_path):
    path = write(tmp_path / "a", [example({"a": 1})])
    with pytest.raises(ConfigError, match="data_compression_type: 'LZ4' is not one of '', 'GZIP', 'ZLIB'"):
        record_format(path, "a", compression="LZ4")


def test_the_order_is_that_of_text_files(tmp_path):
    sizes, paths, number = [5, 0, 9], [], 0
    for i, size in enumerate(sizes):
        rows = [example({"n": number + row, "at": f"{i}-{row}".encode()}) for row in range(size)]
        number += size
        paths.append(write(tmp_path / f"part-{i}", rows))
    data = record_format(paths, "n", "at")
    check_order(data, sizes, 3, 2, True, 6, list(map(str, paths)))


def test_floats_keep_their_bits(tmp_path):
    path = write(tmp_path / "a", [example({"f": float(np.float32(i) / 3)}) for i in range(9)])
    found = np.array([row["f"] for row in rows_of(record_format(path, "f"))])
    np.testing.assert_array_equal(found, (np.arange(9, dtype=np.float32) / 3).astype(np.float64))
