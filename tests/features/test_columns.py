"""Typed columns, as in Parquet files."""

from __future__ import annotations

import decimal
import re
from typing import Any

import pyarrow as pa
import pytest
import tensorflow as tf
from features.packing import ids, pack, packer_for, several
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data.column_types import number_text
from hvdrec.errors import DataError
from hvdrec.features import Packer, build_plan

HASHED = 'features { input_names: "l" hash_bucket_size: 1000 embedding_dim: 4 }'
NUMBERED = 'features { input_names: "l" num_buckets: 10 embedding_dim: 4 }'
TAGS = 'features { input_names: "t" feature_type: TagFeature hash_bucket_size: 1000 embedding_dim: 4 }'
NUMBER = 'features { input_names: "x" feature_type: RawFeature }'
VECTOR = 'features { input_names: "v" feature_type: RawFeature raw_input_dim: 3 }'


def _several(feature: str, rows: int, name: str = "t", **columns: pa.Array) -> list[list[tuple[int, float]]]:
    packer = packer_for(feature, [name])
    return several(packer.plan, pack(packer, **columns), rows)


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
    found = _several(TAGS, 4, t=column)
    assert [[row for row, _ in values] for values in found] == [_hashes("1", "2"), [], [], _hashes("7")]


def test_lists_of_numbers_are_vectors() -> None:
    for kind in (pa.float32(), pa.int16(), pa.string()):
        column = pa.array([[1, 2, 3], [4], None], pa.list_(pa.int16())).cast(pa.list_(kind))
        packed = pack(packer_for(VECTOR, ["v"]), v=column)
        assert packed["dense"].tolist() == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    with pytest.raises(DataError, match=r"row 2, column 'v': found 4 numbers, but raw_input_dim is 3"):
        pack(packer_for(VECTOR, ["v"]), v=pa.array([[1.0], [1.0, 2, 3, 4]]))


def test_lists_of_one_id() -> None:
    column = pa.array([[3], [], None, [-1], [12], [None]], pa.large_list(pa.int64()))
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=column)) == [3, -1, -1, -1, 0, -1]
    assert ids(pack(packer_for(HASHED, ["l"]), l=column)) == _hashes("3", "", "", "-1", "12", "")
    with pytest.raises(
        DataError, match=r"row 2, column 'l': a list of 2 values, but an IdFeature has one value per row"
    ):
        pack(packer_for(HASHED, ["l"]), l=pa.array([[1], [2, 3]]))
    words = pa.array([["3"], [""]], pa.list_(pa.string()))
    assert ids(pack(packer_for(NUMBERED, ["l"]), l=words)) == [3, -1]


def test_weights_as_lists() -> None:
    feature = TAGS.replace('"t"', '["t", "v"] feature_name: "t"')
    tags = pa.array([["a", "b"], []])
    found = _several(feature, 2, t=tags, v=pa.array([[0.5, 2.0], []]))
    assert [[w for _, w in row] for row in found] == [[0.5, 2.0], []]
    with pytest.raises(DataError, match=r"row 1, column 'v': found 1 weights for 2 tags"):
        pack(packer_for(feature, ["t"]), t=tags, v=pa.array([[0.5], []]))
    with pytest.raises(DataError, match=r"row 1, column 'v': a weight is null"):
        pack(packer_for(feature, ["t"]), t=tags, v=pa.array([[0.5, None], []]))


NESTED = pa.array([[[1.0, 2.0]], [[3.0]]])
PAIRS = pa.array([["a:1", "b:2"], ["b:3"]])
PARTS = (
    'features { feature_name: "c" input_names: ["s", "t"] feature_type: ComboFeature combo_input_seps: ["|", ""] '
    "hash_bucket_size: 9 embedding_dim: 4 }"
)
MAP = (
    'features { feature_name: "c" input_names: ["s", "t"] feature_type: LookupFeature separator: "|" kv_separator: ":" '
    "hash_bucket_size: 9 embedding_dim: 4 }"
)


@pytest.mark.parametrize(
    ("feature", "name", "columns"),
    [
        (NUMBER, "x", {"x": NESTED}),
        (VECTOR, "v", {"v": NESTED}),
        (TAGS, "t", {"t": NESTED}),
        (TAGS.replace('"t"', '"l"'), "l", {"l": NESTED}),
        (HASHED, "l", {"l": NESTED}),
        (TAGS.replace('"t"', '["t", "v"] feature_name: "t"'), "t", {"t": [b"a", b"b"], "v": NESTED}),
        (
            'features { feature_name: "c" input_names: ["s", "t"] feature_type: ComboFeature '
            "hash_bucket_size: 9 embedding_dim: 4 }",
            "c",
            {"s": NESTED},
        ),
        (PARTS, "c", {"s": PAIRS}),
        (PARTS.replace("ComboFeature", 'ComboFeature combo_join_sep: "_"'), "c", {"s": PAIRS}),
        (MAP, "c", {"s": PAIRS, "t": [b"a:1", b"b:2"]}),
        (MAP, "c", {"s": [b"a", b"b"], "t": PAIRS}),
    ],
)
def test_lists_that_mean_nothing_are_refused_with_their_place(
    feature: str, name: str, columns: dict[str, pa.Array]
) -> None:
    with pytest.raises(DataError, match=r"f.csv, row 1, column '.*': .*list"):
        pack(packer_for(feature, [name]), **columns)


def test_a_list_is_no_session() -> None:
    text = """eval_config { metrics_set { gauc { uid_field: "u" } } } data_config { input_type: ParquetInput
      input_fields { input_name: "y" input_type: INT32 } input_fields { input_name: "s" } input_fields { input_name: "u" }
      label_fields: "y" }
    feature_config { features { input_names: "s" hash_bucket_size: 5 embedding_dim: 4 } }
    model_config { model_class: "DCN" feature_groups { group_name: "all" feature_names: "s" } dcn {} }"""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    columns = {"y": pa.array([1, 0]), "s": pa.array(["a", "b"]), "u": pa.array([["a", "b"], ["c"]])}
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in plan.fields], [f.name for f in plan.fields])
    with pytest.raises(DataError, match="column 'u': a list can't be used here"):
        Packer(plan).pack(batch, str)


@pytest.mark.parametrize(
    "column", [pa.array([1], pa.timestamp("s")), pa.array([{"a": 1}]), pa.array([[{"a": 1}]])]
)
def test_types_that_mean_nothing_are_refused(column: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'x' has type .* can't be used"):
        pack(packer_for(NUMBER, ["x"]), x=column)


# What each declared type makes of numbers that files hold in other types, as of texts in a CSV file.
FORMS = [
    pa.array([3, None, 12], pa.int32()),
    pa.array([3, None, 12], pa.uint64()),
    pa.array([3, None, 12], pa.float32()),
    pa.array([3, None, 12], pa.float64()),  # pandas, with a missing value
    pa.array([decimal.Decimal(3), None, decimal.Decimal(12)], pa.decimal128(20, 0)),
    pa.array([decimal.Decimal(3), None, decimal.Decimal(12)], pa.decimal128(38, 6)),
    pa.array(["3", None, "12"]),
]


@pytest.mark.parametrize("column", FORMS, ids=lambda column: str(column.type))
@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("s", ["3", "", "12"]),
        ("l", ["3", "0", "12"]),
        ("n", ["3", "0", "12"]),
        ("x", ["3.00", "0.00", "12.00"]),
        ("f", ["3.00", "0.00", "12.00"]),
    ],
)
def test_the_declared_type_decides_how_an_id_is_written(
    name: str, texts: list[str], column: pa.Array
) -> None:
    feature = f'features {{ input_names: "{name}" hash_bucket_size: 1000 embedding_dim: 4 precision: 2 }}'
    packer = packer_for(feature, [name])
    assert ids(pack(packer, **{name: column})) == _hashes(*texts)
    if name != "s":
        assert ids(pack(packer, **{name: [b"3", b"", b"12"]})) == _hashes(*texts)


@pytest.mark.parametrize("column", FORMS, ids=lambda column: str(column.type))
@pytest.mark.parametrize("name", ["t", "l"])
def test_the_declared_type_decides_how_a_tag_is_written(name: str, column: pa.Array) -> None:
    lists = pa.ListArray.from_arrays([0, 2, 2, 3], column)
    tags = TAGS.replace('"t"', f'"{name}"')
    found = _several(tags, 3, name, **{name: lists})
    assert [[row for row, _ in values] for values in found] == [_hashes("3"), [], _hashes("12")]
    numbered = tags.replace("hash_bucket_size: 1000", "num_buckets: 100")
    found = _several(numbered, 3, name, **{name: lists})
    assert [[row for row, _ in values] for values in found] == [[3], [], [12]]


@pytest.mark.parametrize("column", FORMS, ids=lambda column: str(column.type))
@pytest.mark.parametrize("name", ["v", "l", "x", "f"])
def test_lists_of_any_numbers_are_vectors(name: str, column: pa.Array) -> None:
    lists = pa.ListArray.from_arrays([0, 3], column)
    packed = pack(packer_for(VECTOR.replace('"v"', f'"{name}"'), [name]), **{name: lists})
    assert packed["dense"].tolist() == [[3, 0, 12]]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (2.0**53 + 2, "9007199254740994"),
        (1e22, "10000000000000000000000"),
        (1.25e-7, "0.000000125"),
        (1 / 3, "0.3333333333333333"),
    ],
)
def test_a_fraction_as_a_word_has_as_few_digits_as_tell_it_apart(number: float, text: str) -> None:
    words = HASHED.replace('"l"', '"s"')
    assert ids(pack(packer_for(words, ["s"]), s=pa.array([number]))) == _hashes(text)
    assert number_text(number) == text


BIG = decimal.Decimal("12345678901234567890123.5")


@pytest.mark.parametrize(
    ("name", "column", "told"),
    [
        ("l", pa.array([1.0, 2.5]), "2.5 is not an INT64"),
        ("l", pa.array([1.0, float("nan")]), "nan is not an INT64"),
        ("l", pa.array([1.0, 1e300]), "1e+300 is not an INT64"),
        ("l", pa.array([1.0, 2.0**63]), "9223372036854775808 is not an INT64"),
        ("l", pa.array([1, 2**63], pa.uint64()), "'9223372036854775808' is not an INT64"),
        ("l", pa.array([decimal.Decimal(1), BIG], pa.decimal128(30, 2)), f"'{BIG}' is not an INT64"),
        ("l", pa.array(["1", "1.0"]), "'1.0' is not an INT64"),
        ("n", pa.array([1, 2**31], pa.int64()), "2147483648 is not an INT32"),
        ("n", pa.array([1, -(2.0**31) - 1]), "-2147483649 is not an INT32"),
        ("b", pa.array([1, 2]), "2 is not a BOOL"),
        ("b", pa.array([1.0, 0.5]), "0.5 is not a BOOL"),
        ("s", pa.array([1.0, float("nan")]), "nan is not a finite number"),
        ("x", pa.array([1.0, float("inf")]), "inf is not a finite number"),
        ("f", pa.array([1.0, float("nan")], pa.float32()), "nan is not a finite number"),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_values_outside_the_declared_type_are_named(
    name: str, column: pa.Array, told: str, as_list: bool
) -> None:
    kinds = {
        "id": f'features {{ input_names: "{name}" hash_bucket_size: 9 embedding_dim: 4 precision: 2 }}',
        "tag": TAGS.replace('"t"', f'"{name}" precision: 2'),
        "number": NUMBER.replace('"x"', f'"{name}"'),
    }
    if as_list:
        column = pa.ListArray.from_arrays([0, 1, 2], column)
    for feature in kinds.values():
        with pytest.raises(DataError, match=rf"f.csv, row 2, column '{name}': {re.escape(told)}"):
            pack(packer_for(feature, [name]), **{name: column})
        packed = packer_for(feature, [name], ignore_error=True)
        batch = pa.RecordBatch.from_arrays(
            [column if f.name == name else pa.array([b"", b""]) for f in packed.plan.fields],
            [f.name for f in packed.plan.fields],
        )
        assert packed.pack(batch, str)[0] == 1


def test_lists_are_labels_of_several_numbers() -> None:
    text = """data_config { input_fields { input_name: "y" input_type: DOUBLE } input_fields { input_name: "s" }
      label_fields: "y" label_dim: 2 input_type: ParquetInput }
    feature_config { features { input_names: "s" hash_bucket_size: 5 embedding_dim: 4 } }
    model_config { model_class: "DCN" feature_groups { group_name: "all" feature_names: "s" } dcn {} }"""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    columns = {"y": pa.array([[1.0, 0.5], [2, 3]]), "s": pa.array(["a", "b"])}
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in plan.fields], [f.name for f in plan.fields])
    assert Packer(plan).pack(batch, str)[1]["label/y"].tolist() == [[1, 0.5], [2, 3]]


def test_a_column_that_comes_and_goes_is_empty() -> None:
    """A file in which a column has no value at all has it in the type null."""
    packer = packer_for(HASHED.replace('"l"', '"s"'), ["s"])
    assert ids(pack(packer, s=pa.nulls(2))) == [-1, -1]
    assert ids(pack(packer, s=pa.array(["a", None]))) == _hashes("a", "")
    tags = packer_for(TAGS, ["t"])
    assert several(tags.plan, pack(tags, t=pa.nulls(2, pa.list_(pa.null()))), 2) == [[], []]


def _packed(field: str, feature: str, column: pa.Array, weights: pa.Array | None = None) -> tuple[Any, Any]:
    """Plan and arrays of one feature on a column of lists called ``l``, with weights in ``w``."""
    names = '["l", "w"]' if weights is not None else '"l"'
    text = f"""data_config {{ input_type: ParquetInput label_fields: "y"
      input_fields {{ input_name: "y" input_type: INT32 }}
      input_fields {{ input_name: "l" {field} }} input_fields {{ input_name: "w" input_type: STRING }} }}
    feature_config {{ features {{ feature_name: "f" input_names: {names} {feature} }} }}
    model_config {{ model_class: "DCN" feature_groups {{ group_name: "all" feature_names: "f" }} dcn {{}} }}"""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    columns = {"y": pa.array([0] * len(column)), "l": column, "w": weights}
    batch = pa.RecordBatch.from_arrays([columns[f.name] for f in plan.fields], [f.name for f in plan.fields])
    return plan, Packer(plan).pack(batch, str)[1]


_TAG = "feature_type: TagFeature embedding_dim: 4"


def test_a_null_list_is_its_fields_default() -> None:
    column = pa.array([["a"], None, []])
    plan, packed = _packed('input_type: STRING default_val: "b|a"', f"{_TAG} hash_bucket_size: 1000", column)
    a, b = _hashes("a", "b")
    assert [[row for row, _ in each] for each in several(plan, packed, 3)] == [[a], [b, a], []]
    column = pa.array([[1.0, 2.0], None])
    _, packed = _packed(
        'input_type: STRING default_val: "3,4"',
        'feature_type: RawFeature raw_input_dim: 2 separator: ","',
        column,
    )
    assert packed["dense"].tolist() == [[1, 2], [3, 4]]
    _, packed = _packed(
        "input_type: INT64 default_val: '7'",
        "feature_type: IdFeature num_buckets: 10 embedding_dim: 4",
        pa.array([[5], None]),
    )
    assert ids(packed) == [5, 7]


def test_minus_one_in_a_list_of_numbers_is_none() -> None:
    """As in a request of an exported model, whose rows are filled up with it."""
    column = pa.array([[-1, 3, -1, 4], [-1], [5, None, 6]])
    weights = pa.array([[0.5, 1.0, 2.0, 4.0], [8.0], [1.0, 2.0]])
    plan, packed = _packed("input_type: INT64", f"{_TAG} combiner: 'sum' num_buckets: 10", column, weights)
    assert several(plan, packed, 3) == [[(3, 1.0), (4, 4.0)], [], [(5, 1.0), (6, 2.0)]]
