"""Typed columns, as Parquet files have them."""

from __future__ import annotations

import decimal

import pyarrow as pa
import pytest
import tensorflow as tf
from features.packing import ids, pack, packer_for, several

from hvdrec.errors import DataError

HASHED = 'features { input_names: "l" hash_bucket_size: 1000 embedding_dim: 4 }'
NUMBERED = 'features { input_names: "l" num_buckets: 10 embedding_dim: 4 }'
TAGS = 'features { input_names: "t" feature_type: TagFeature hash_bucket_size: 1000 embedding_dim: 4 }'
NUMBER = 'features { input_names: "x" feature_type: RawFeature }'
VECTOR = 'features { input_names: "v" feature_type: RawFeature raw_input_dim: 3 }'


def _hashes(*texts: str) -> list[int]:
    return [
        int(h) if t else -1 for t, h in zip(texts, tf.strings.to_hash_bucket_fast(texts, 1000), strict=True)
    ]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_integers_of_any_size_mean_their_decimal_form(kind: str) -> None:
    column = pa.array([3, None, 12], getattr(pa, kind)())
    # As in CSV files, an empty cell of a field declared INT64 is 0, and one of a STRING field is no id.
    assert ids(pack(packer_for(HASHED, ["l"]), l=column)) == _hashes("3", "0", "12")
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=column)) == [3, 0, 0]
    assert ids(pack(packer_for(HASHED.replace('"l"', '"s"'), ["s"]), s=column)) == _hashes("3", "", "12")
    assert ids(pack(packer_for(NUMBERED.replace('"l"', '"s"'), ["s"]), s=column)) == [3, -1, 0]


def test_the_upper_half_of_uint64() -> None:
    column = pa.array([2**64 - 1], pa.uint64())
    assert ids(pack(packer_for(HASHED.replace('"l"', '"s"'), ["s"]), s=column)) == _hashes(str(2**64 - 1))
    with pytest.raises(DataError, match=r"f.csv, row 1, column 'l': '18446744073709551615' is not an INT64"):
        pack(packer_for(NUMBERED, ["l"]), l=column)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0.5, None, -2], pa.float16()),
        pa.array([0.5, None, -2], pa.float32()),
        pa.array([0.5, None, -2], pa.float64()),
        pa.array([decimal.Decimal("0.5"), None, decimal.Decimal(-2)], pa.decimal128(5, 1)),
        pa.array(["0.5", None, "-2"], pa.string()),
        pa.array(["0.5", None, "-2"], pa.large_string()),
        pa.array(["0.5", "", "-2"], pa.string()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_numbers_of_any_type(column: pa.Array) -> None:
    assert pack(packer_for(NUMBER, ["x"]), x=column)["dense"].ravel().tolist() == [0.5, 0, -2]


def test_flags() -> None:
    feature = 'features { input_names: "b" hash_bucket_size: 1000 embedding_dim: 4 }'
    typed = pack(packer_for(feature, ["b"]), b=pa.array([True, False]))
    written = pack(packer_for(feature, ["b"]), b=[b"true", b"0"])
    assert ids(typed) == ids(written) == _hashes("1", "0")
    numbered = packer_for('features { input_names: "b" num_buckets: 2 embedding_dim: 4 }', ["b"])
    assert ids(pack(numbered, b=[b"True", b"", b"1"])) == [1, 0, 1]


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.string(), pa.uint64(), pa.dictionary(pa.int8(), pa.string())]
)
def test_lists_of_tags(kind: pa.DataType) -> None:
    values = [[1, 2], [], None, [7, None]]
    if not pa.types.is_integer(kind):
        values = [v and [str(x) if x else None for x in v] for v in values]
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    column = pa.array(values, pa.list_(plain))
    if plain != kind:
        column = pa.ListArray.from_arrays(
            column.offsets, column.values.dictionary_encode(), mask=column.is_null()
        )
    found = several(pack(packer_for(TAGS, ["t"]), t=column), 4)
    assert [[row for row, _ in values] for values in found] == [_hashes("1", "2"), [], [], _hashes("7")]


def test_lists_of_numbers_are_vectors() -> None:
    for kind in (pa.float32(), pa.int16(), pa.string()):
        column = pa.array([[1, 2, 3], [4], None], pa.list_(pa.int16())).cast(pa.list_(kind))
        packed = pack(packer_for(VECTOR, ["v"]), v=column)
        assert packed["dense"].tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    with pytest.raises(DataError, match=r"row 2, column 'v': 4 numbers where raw_input_dim is 3"):
        pack(packer_for(VECTOR, ["v"]), v=pa.array([[1.0], [1.0, 2, 3, 4]]))


def test_lists_of_one_id() -> None:
    column = pa.array([[3], [], None, [-1], [12], [None]], pa.large_list(pa.int64()))
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=column)) == [3, -1, -1, -1, 0, -1]
    assert ids(pack(packer_for(HASHED, ["l"]), l=column)) == _hashes("3", "", "", "-1", "12", "")
    with pytest.raises(
        DataError, match=r"row 2, column 'l': a list of 2 values where an IdFeature takes one"
    ):
        pack(packer_for(HASHED, ["l"]), l=pa.array([[1], [2, 3]]))
    words = pa.array([["3"], [""]], pa.list_(pa.string()))
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=words)) == [3, -1]


def test_weights_as_lists() -> None:
    feature = TAGS.replace('"t"', '["t", "v"] feature_name: "t"')
    tags = pa.array([["a", "b"], []])
    found = several(pack(packer_for(feature, ["t"]), t=tags, v=pa.array([[0.5, 2.0], []])), 2)
    assert [[w for _, w in row] for row in found] == [[0.5, 2.0], []]
    with pytest.raises(DataError, match=r"row 1, column 'v': 1 weights for 2 tags"):
        pack(packer_for(feature, ["t"]), t=tags, v=pa.array([[0.5], []]))
    with pytest.raises(DataError, match=r"row 1, column 'v': a weight is null"):
        pack(packer_for(feature, ["t"]), t=tags, v=pa.array([[0.5, None], []]))


NESTED = pa.array([[[1.0, 2.0]], [[3.0]]])


@pytest.mark.parametrize(
    ("feature", "name", "columns"),
    [
        (NUMBER, "x", {"x": NESTED}),
        (VECTOR, "v", {"v": NESTED}),
        (TAGS, "t", {"t": NESTED}),
        (TAGS, "t", {"t": pa.array([[0.5], [1.5]])}),
        (HASHED, "l", {"l": NESTED}),
        (TAGS.replace('"t"', '["t", "v"] feature_name: "t"'), "t", {"t": [b"a", b"b"], "v": NESTED}),
        (
            'features { feature_name: "c" input_names: ["s", "t"] feature_type: ComboFeature '
            "hash_bucket_size: 9 embedding_dim: 4 }",
            "c",
            {"s": NESTED},
        ),
    ],
)
def test_lists_that_mean_nothing_are_refused_with_their_place(
    feature: str, name: str, columns: dict[str, pa.Array]
) -> None:
    with pytest.raises(DataError, match=r"f.csv, row 1, column '.*': .*list"):
        pack(packer_for(feature, [name]), **columns)


@pytest.mark.parametrize(
    "column", [pa.array([1], pa.timestamp("s")), pa.array([{"a": 1}]), pa.array([[{"a": 1}]])]
)
def test_types_that_mean_nothing_are_refused(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'x' has the type .* can't be used"):
        pack(packer_for(NUMBER, ["x"]), x=column)


def test_fractions_are_no_ids() -> None:
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=pa.array([2.0, -1.0]))) == [2, -1]
    for value in (2.5, float("nan"), 1e300):
        with pytest.raises(DataError, match=r"row 1, column 'l': .* is not a whole number"):
            pack(packer_for(NUMBERED, ["l"]), l=pa.array([value]))
