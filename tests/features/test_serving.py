"""The plan in stock TensorFlow operations against the native packer, on raw cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import DataError
from hvdrec.features import Packer, build_plan
from hvdrec.features.plan import FeaturePlan
from hvdrec.features.serving import ServingGraph

FIELDS = {
    "label": ("INT32", "0"),
    "s": ("STRING", ""),
    "d": ("STRING", "fallback"),
    "t": ("STRING", ""),
    "w": ("STRING", ""),
    "i": ("INT32", ""),
    "l": ("INT64", "7"),
    "x": ("DOUBLE", ""),
    "f": ("FLOAT", "0.5"),
    "v": ("STRING", ""),
    "q": ("STRING", ""),
    "y": ("STRING", ""),
    "z": ("STRING", ""),
    "h": ("STRING", ""),
    "p": ("STRING", ""),
    "m": ("STRING", ""),
    "b": ("BOOL", "false"),
}

FEATURES = {
    "hashed text": ('input_names: "s" hash_bucket_size: 50', "s"),
    "hashed text with a default": ('input_names: "d" hash_bucket_size: 50', "d"),
    "hashed integer": ('input_names: "i" hash_bucket_size: 50', "i"),
    "hashed integer with a default": ('input_names: "l" hash_bucket_size: 50', "l"),
    "hashed fraction": ('input_names: "x" hash_bucket_size: 50 precision: 3', "x"),
    "words": ('input_names: "s" vocab_list: ["a", "b", "a", "\\303\\251"]', "s"),
    "numbers as ids": ('input_names: "i" num_buckets: 9', "i"),
    "text numbers as ids": ('input_names: "q" num_buckets: 9', "q"),
    "defaulted numbers as ids": ('input_names: "l" num_buckets: 9', "l"),
    "number": ('input_names: "x" feature_type: RawFeature', "x"),
    "flag": ('input_names: "b" feature_type: RawFeature', "b"),
    "scaled number": (
        'input_names: "f" feature_type: RawFeature min_val: -3 max_val: 2.5 normalizer_fn: "tf.math.tanh"',
        "f",
    ),
    "bucket": ('input_names: "f" feature_type: RawFeature boundaries: [-1, 0, 0.5, 4]', "f"),
    "even buckets": (
        'input_names: "i" feature_type: RawFeature num_buckets: 4 min_val: -2 max_val: 9',
        "i",
    ),
    "vector": ('input_names: "v" feature_type: RawFeature raw_input_dim: 3 separator: ",;"', "v"),
    "vector of buckets": (
        'input_names: "v" feature_type: RawFeature raw_input_dim: 3 separator: ",;" boundaries: [0, 1]',
        "v",
    ),
    "projected vector": (
        'input_names: "v" feature_type: RawFeature raw_input_dim: 3 separator: ",;" embedding_dim: 4',
        "v",
    ),
    "tags": ('input_names: "t" feature_type: TagFeature hash_bucket_size: 40 separator: "|,"', "t"),
    "one tag": ('input_names: "s" feature_type: TagFeature hash_bucket_size: 40 separator: ""', "s"),
    "mean of numbered tags": (
        'input_names: "q" feature_type: TagFeature num_buckets: 6 separator: "|" combiner: "mean"',
        "q",
    ),
    **{
        f"{combiner} of tags with weights": (
            f"""input_names: "w" feature_type: TagFeature hash_bucket_size: 40 separator: "|" kv_separator: ":"
            combiner: "{combiner}" """,
            "w",
        )
        for combiner in ("sum", "mean", "sqrtn")
    },
    **{
        f"{pool} of numbers": (
            f"""input_names: "h" feature_type: RawFeature seq_multi_sep: "|" combiner: "{pool}" """,
            "h",
        )
        for pool in ("sum", "mean", "min", "max")
    },
    "bucket of a pooled number": (
        'input_names: "h" feature_type: RawFeature seq_multi_sep: "|" combiner: "max" boundaries: [0, 2]',
        "h",
    ),
    "pooled vectors": (
        """input_names: "p" feature_type: RawFeature seq_multi_sep: "|" separator: ";" raw_input_dim: 2
        combiner: "mean" """,
        "p",
    ),
    "history": ('input_names: "t" feature_type: SequenceFeature hash_bucket_size: 40 separator: "|"', "t"),
    "history cut": (
        'input_names: "t" feature_type: SequenceFeature hash_bucket_size: 40 separator: "|" max_seq_len: 2',
        "t",
    ),
    "history between words": (
        'input_names: "t" feature_type: SequenceFeature vocab_list: ["a", "b"] separator: "a|"',
        "t",
    ),
    "history with a default": (
        'input_names: "d" feature_type: SequenceFeature hash_bucket_size: 40 separator: "l"',
        "d",
    ),
    "numbered history": ('input_names: "y" feature_type: SequenceFeature num_buckets: 9 separator: "|"', "y"),
    "nested history": (
        """input_names: "t" feature_type: SequenceFeature hash_bucket_size: 40 separator: "|"
        seq_multi_sep: " :" combiner: "mean" """,
        "t",
    ),
    "nested history cut": (
        """input_names: "t" feature_type: SequenceFeature hash_bucket_size: 40 separator: "|"
        seq_multi_sep: " " max_seq_len: 2""",
        "t",
    ),
    "history of buckets": (
        """input_names: "z" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        boundaries: [0, 1.5]""",
        "z",
    ),
    "history of even buckets": (
        """input_names: "z" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        num_buckets: 4 min_val: -2 max_val: 9""",
        "z",
    ),
    "nested history of buckets": (
        """input_names: "h" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        seq_multi_sep: ";" boundaries: [0, 1.5] combiner: "sqrtn" """,
        "h",
    ),
    "history of numbers": (
        """input_names: "z" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        sequence_length: 4 embedding_dim: 0""",
        "z",
    ),
    "history of vectors": (
        """input_names: "p" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        seq_multi_sep: ";" raw_input_dim: 2 sequence_length: 4 embedding_dim: 0""",
        "p",
    ),
    **{
        f"projected history, {combiner}": (
            f"""input_names: "z" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
            sequence_length: 4 embedding_dim: 4 combiner: "{combiner}" """,
            "z",
        )
        for combiner in ("sum", "mean")
    },
    "projected history of vectors": (
        """input_names: "p" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|"
        seq_multi_sep: ";" raw_input_dim: 2 sequence_length: 4 embedding_dim: 4""",
        "p",
    ),
    "lookup": (
        """feature_name: "c" input_names: ["s", "m"] feature_type: LookupFeature hash_bucket_size: 99
        separator: "|" kv_separator: ":" combiner: "mean" lookup_max_sel_elem_num: 2""",
        "c",
    ),
    "lookup of a number": (
        """feature_name: "c" input_names: ["i", "m"] feature_type: LookupFeature hash_bucket_size: 99
        separator: "|;" kv_separator: ":=" """,
        "c",
    ),
    "cross": (
        'feature_name: "c" input_names: ["s", "i", "x"] feature_type: ComboFeature hash_bucket_size: 99',
        "c",
    ),
    "cross of parts": (
        """feature_name: "c" input_names: ["t", "s"] feature_type: ComboFeature hash_bucket_size: 99
        combo_input_seps: ["|,", ""]""",
        "c",
    ),
    "joined": (
        """feature_name: "c" input_names: ["s", "d"] feature_type: ComboFeature hash_bucket_size: 99
        combo_join_sep: "__" """,
        "c",
    ),
    "joined parts": (
        """feature_name: "c" input_names: ["t", "s", "i"] feature_type: ComboFeature hash_bucket_size: 99
        combo_join_sep: "_" combo_input_seps: ["|", "", ""]""",
        "c",
    ),
    "expression": (
        """feature_name: "c" input_names: ["x", "f", "l"] feature_type: ExprFeature
        expression: "((x > f) | (x == l)) + tf.math.square(x - f)/4 - l*0.5" """,
        "c",
    ),
    "quotient": (
        """feature_name: "c" input_names: ["x"] feature_type: ExprFeature expression: "1 / (x - 4) / (x * x)" """,
        "c",
    ),
    "guarded expression": (
        """feature_name: "c" input_names: ["x", "f"] feature_type: ExprFeature
        expression: "(f > 0) & (x / f >= 1) | (f <= 0)" """,
        "c",
    ),
}

INDICES = ("index", "multi_index", "sequence_index", "nested_index")
_TEXT = st.one_of(st.sampled_from([b"", b"a", b"b", b"\xc3\xa9"]), st.binary(max_size=8))
_SPACES = st.sampled_from([b"", b" ", b"\t"])
_INTEGER = st.builds(
    lambda a, sign, n, b: a + (b"+" if sign and n >= 0 else b"") + str(n).encode() + b,
    _SPACES,
    st.booleans(),
    st.one_of(st.integers(-2, 12), st.integers(-(2**31), 2**31 - 1)),
    _SPACES,
)
_FRACTION = st.one_of(
    # TensorFlow takes subnormal numbers, and squares that come out so, for zero.
    st.floats(-9, 9, width=32).filter(lambda x: x == 0 or abs(x) > 1e-9).map(lambda x: repr(x).encode()),
    st.sampled_from([b"0", b"+1.5", b" 2. ", b".25", b"-1e-3", b"1e3"]),
)
_WORD = st.text("abc :", min_size=0, max_size=3).map(str.encode)
_CELLS = {
    "s": _TEXT,
    "d": _TEXT,
    "t": st.lists(_WORD, max_size=4).map(b"|".join),
    "w": st.lists(st.tuples(st.sampled_from([b"a", b"b", b""]), _FRACTION).map(b":".join), max_size=4).map(b"|".join),
    "i": st.one_of(st.just(b""), _INTEGER),
    "l": st.one_of(st.just(b""), _INTEGER),
    "x": st.one_of(st.just(b""), _FRACTION),
    "f": st.one_of(st.just(b""), _FRACTION),
    "v": st.lists(_FRACTION, max_size=3).map(b",".join),
    "q": st.one_of(st.just(b""), st.integers(-2, 9).map(lambda n: str(n).encode())),
    "y": st.lists(st.integers(-2, 11).map(lambda n: str(n).encode()), min_size=1, max_size=4).map(b"|".join),
    "z": st.lists(_FRACTION, min_size=1, max_size=4).map(b"|".join),
    "h": st.lists(_FRACTION, max_size=4).map(b"|".join),
    "p": st.lists(st.tuples(_FRACTION, _FRACTION).map(b";".join), max_size=4).map(b"|".join),
    "m": st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"1", b":"]), st.sampled_from([b":", b"::", b""]), _WORD).map(b"".join),
        max_size=5,
    ).map(b"|".join),
    "b": st.sampled_from([b"", b"1", b"0", b"true", b"False", b" TRUE "]),
}  # fmt: skip


#: Kinds whose ids have 64 bits if their tables have no fixed size, or keep theirs.
OPEN = (
    *("hashed text", "hashed integer with a default", "words", "numbers as ids", "bucket", "tags"),
    *("mean of numbered tags", "history", "numbered history", "nested history", "history of buckets"),
    *("projected vector", "lookup", "cross", "cross of parts", "joined", "joined parts"),
)


def _plan(feature: str, name: str, ev: str = "") -> FeaturePlan:
    fields = "\n".join(
        f'input_fields {{ input_name: "{n}" input_type: {t} default_val: "{d}" }}'
        for n, (t, d) in FIELDS.items()
    )
    number = "RawFeature" in feature and "bound" not in feature and "num_buckets" not in feature
    number = number or "ExprFeature" in feature
    dim = "" if number or "embedding_dim" in feature else "embedding_dim: 4"
    text = f"""data_config {{ {fields} label_fields: "label" input_type: CSVInput }}
    feature_config {{ features {{ {feature} {dim} }} }}
    model_config {{ {ev} model_class: "DCN" feature_groups {{ group_name: "all" feature_names: ["{name}"] }} dcn {{}} }}
    """
    return build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))


def _native(plan: FeaturePlan, columns: dict[str, list[bytes]]) -> dict[str, np.ndarray]:
    rows = len(next(iter(columns.values())))
    arrays = [pa.array(columns.get(f.name, [b"0"] * rows), pa.binary()) for f in plan.fields]
    batch = pa.RecordBatch.from_arrays(arrays, [f.name for f in plan.fields])
    packed = Packer(plan).pack(batch, str)[1]
    # Without a fixed size, the keys stand for the rows, and each occurs as often as it is counted.
    for bank in {n.split("/")[0] for n in packed if n.endswith("/keys")}:
        packed[f"{bank}/rows"] = packed[f"{bank}/keys"]
        used = [packed[f"{bank}/{i}"] for i in INDICES if f"{bank}/{i}" in packed]
        counts = np.bincount(np.concatenate([i.reshape(-1) for i in used]), minlength=1)[1:]
        assert counts.tolist() == packed[f"{bank}/counts"].tolist()
        assert len(set(packed[f"{bank}/keys"])) == len(counts)
    return packed


def _meaning(arrays: dict[str, np.ndarray]) -> list[object]:
    """What the arrays say, whatever the order of bank rows: bank rows by slot, sums by segment."""
    dense = arrays.get("dense", np.empty([0, 0]))
    said: list[object] = [dense] if dense.shape[1] else []
    for bank in {n.split("/")[0] for n in arrays if n.startswith("bank")}:
        table = np.concatenate([[-1], arrays[f"{bank}/rows"]])
        if f"{bank}/index" in arrays:
            said.append(table[arrays[f"{bank}/index"]].tolist())
        for kind in ("multi", "nested"):
            if f"{bank}/{kind}_index" in arrays:
                found = zip(
                    arrays[f"{bank}/{kind}_segment"].tolist(),
                    table[arrays[f"{bank}/{kind}_index"]].tolist(),
                    arrays[f"{bank}/{kind}_weight"].tolist(),
                    strict=True,
                )
                ordered = sorted(found)
                said.append([(s, i) for s, i, _ in ordered])
                said.append(np.asarray([w for _, _, w in ordered]))
        if f"{bank}/sequence_index" in arrays:
            said.append(table[arrays[f"{bank}/sequence_index"]].tolist())
    if "lengths" in arrays:
        said += [arrays["lengths"].tolist(), arrays["sequence_row"].tolist()]
    if "sequence_numbers" in arrays:
        said.append(arrays["sequence_numbers"])
    return said


def _assert_same(expected: Sequence[object], found: Sequence[object]) -> None:
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
        else:
            assert a == b


@pytest.mark.parametrize(
    ("kind", "ev"), [*((kind, "") for kind in FEATURES), *((kind, "ev_params {}") for kind in OPEN)]
)
def test_serving_makes_the_packers_batches(kind: str, ev: str) -> None:
    plan = _plan(*FEATURES[kind], ev)
    graph = ServingGraph(plan, {(0, 0): lambda ids: tf.cast(ids, tf.int64)} if ev else {})
    names = graph.fields()
    function = tf.function(lambda **tensors: graph(tensors), autograph=False)
    run = function.get_concrete_function(**{n: tf.TensorSpec([None], tf.string, n) for n in names})
    row = st.fixed_dictionaries({n: _CELLS[n] for n in names})

    @given(rows=st.lists(row, min_size=1, max_size=8))
    @settings(max_examples=40, deadline=None)
    def compare(rows: list[dict[str, bytes]]) -> None:
        columns = {n: [r[n] for r in rows] for n in names}
        tensors = {n: tf.constant(c) for n, c in columns.items()}
        try:
            native = _native(plan, columns)
        except DataError:
            with pytest.raises(tf.errors.InvalidArgumentError):
                run(**tensors)
            return
        served = run(**tensors)
        _assert_same(_meaning(native), _meaning({n: t.numpy() for n, t in served.items()}))

    compare()


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("numbers as ids", b"abc"),
        ("numbers as ids", b"2147483648"),
        ("number", b"1.2.3"),
        ("flag", b"yes"),
        ("vector", b"1,2,3,4"),
        ("sum of tags with weights", b"a"),
        ("sum of tags with weights", b"a:"),
        ("mean of numbered tags", b"1|x"),
        ("lookup", b"a:b:c"),
        ("lookup", b"a"),
        ("pooled vectors", b"1;2|3"),
        ("numbered history", b""),
        ("numbered history", b"1|x"),
        ("history of buckets", b"1||2"),
        ("history of numbers", b"1|2|3|4|5"),
        ("history of vectors", b"1;2;3"),
        ("projected history, sum", b""),
        ("expression", b"x"),
        ("quotient", b"0"),
    ],
)
def test_what_the_packer_refuses_is_refused(kind: str, cell: bytes) -> None:
    plan = _plan(*FEATURES[kind])
    graph = ServingGraph(plan)
    columns = {n: [cell] for n in graph.fields()}
    with pytest.raises(DataError):
        _native(plan, columns)
    with pytest.raises(tf.errors.InvalidArgumentError):
        graph({n: tf.constant(c) for n, c in columns.items()})


def test_weights_from_a_second_input() -> None:
    feature = """feature_name: "t" input_names: ["t", "v"] feature_type: TagFeature hash_bucket_size: 40
    separator: "|" """
    plan = _plan(feature, "t")
    graph = ServingGraph(plan)
    columns = {"t": [b"a|b", b"", b"c"], "v": [b"0.5|-2", b"", b"3"]}
    served = {n: t.numpy() for n, t in graph({n: tf.constant(c) for n, c in columns.items()}).items()}
    native = _native(plan, columns)
    _assert_same(_meaning(native), _meaning(served))
    with pytest.raises(tf.errors.InvalidArgumentError, match="the number of weights in v differs"):
        graph({"t": tf.constant(["a|b", "c"]), "v": tf.constant(["1", "1|2"])})


@pytest.mark.parametrize(
    ("kind", "typed", "text"),
    [
        ("hashed integer", np.asarray([7, -1, 0], np.int32), [b"7", b"-1", b"0"]),
        ("numbers as ids", np.asarray([7, -1, 20], np.int32), [b"7", b"-1", b"20"]),
        ("hashed fraction", np.asarray([0.25, 3, -1], np.float64), [b"0.25", b"3", b"-1"]),
        ("bucket", np.asarray([0.5, -7, 4.5], np.float32), [b"0.5", b"-7", b"4.5"]),
        ("flag", np.asarray([True, False, True]), [b"1", b"0", b"true"]),
        ("tags", np.asarray([[b"a", b"b"], [b"", b""], [b"", b"c"]]), [b"a|b", b"", b"c"]),
        ("mean of numbered tags", np.asarray([[1, 2], [-1, -1], [5, -1]], np.int64), [b"1|2", b"", b"5"]),
        ("vector", np.asarray([[1, 2, 3], [0, 0, 0], [4, 5, 0]], np.float32), [b"1,2,3", b"", b"4;5"]),
    ],
)
def test_typed_inputs_mean_what_their_text_means(kind: str, typed: np.ndarray, text: list[bytes]) -> None:
    plan = _plan(*FEATURES[kind])
    graph = ServingGraph(plan)
    (field,) = graph.fields()
    given_typed = {n: t.numpy() for n, t in graph({field: tf.constant(typed)}).items()}
    given_text = {n: t.numpy() for n, t in graph({field: tf.constant(text)}).items()}
    _assert_same(_meaning(given_text), _meaning(given_typed))
