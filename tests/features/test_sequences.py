"""Sequences against the operations that EasyRec builds on, and their positions in a plan."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from features.packing import model_inputs, pack, packer_for
from google.protobuf import text_format
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdrec.config import load
from hvdrec.config.models.registry import SPECS
from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import ConfigError, DataError
from hvdrec.features import Packer, build_plan
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.attention.target import AttentionInputs
from hvdrec.layers.jagged import Jagged
from hvdrec.models.inputs import ModelInputs

few = settings(max_examples=40, deadline=None)
_CELL = st.text("ab|; ", max_size=9)


def _feature(name: str, extra: str, input_name: str = "") -> str:
    return f"""features {{ feature_name: "{name}" input_names: "{input_name or name}"
    feature_type: SequenceFeature separator: "|" {extra} }}"""


def _sequence(packer: Packer, table: np.ndarray, **cells: list[bytes]) -> Jagged:
    inputs = model_inputs(packer, pack(packer, **cells), table)
    (feature,) = packer.plan.groups["all"].sequences  # type: ignore[attr-defined]
    return inputs.sequence([feature])


def _padded_reference(
    table: np.ndarray, ids: tf.Tensor, weights: tf.Tensor | None, combiner: str, shape: tf.Tensor
) -> np.ndarray:
    """The lookup that feature columns make of a [B, T, K] sparse tensor."""
    ids = tf.SparseTensor(ids.indices, ids.values, shape)
    given = None if weights is None else tf.SparseTensor(ids.indices, weights, shape)
    return tf.nn.safe_embedding_lookup_sparse(table, ids, given, combiner=combiner).numpy()


def _assert_sequence(found: Jagged, padded: np.ndarray, lengths: list[int]) -> None:
    assert found.lengths.numpy().tolist() == lengths
    assert found.rows.numpy().tolist() == [i for i, n in enumerate(lengths) for _ in range(n)]
    expected = [padded[i, t] for i, n in enumerate(lengths) for t in range(n)]
    np.testing.assert_allclose(
        found.values, np.reshape(expected, [-1, found.values.shape[1]]), rtol=1e-5, atol=1e-6
    )


@few
@given(cells=st.lists(_CELL, min_size=1, max_size=5), most=st.integers(0, 3))
@example(cells=["", "a||b", "|"], most=0)
def test_ids_are_those_of_tf_strings_split(cells: list[str], most: int) -> None:
    cut = f"max_seq_len: {most}" if most else ""
    packer = packer_for(_feature("t", f"hash_bucket_size: 60 embedding_dim: 4 {cut}"), ["t"])
    table = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    split = tf.strings.split(cells, "|")
    if most:
        split = split[:, :most]
    hashed = tf.strings.to_hash_bucket_fast(split.to_tensor(), 60)
    padded = tf.gather(table, hashed).numpy()
    found = _sequence(packer, table, t=[c.encode() for c in cells])
    _assert_sequence(found, padded, split.row_lengths().numpy().tolist())


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@few
@given(cells=st.lists(_CELL, min_size=1, max_size=5))
@example(cells=["", "a;b|;|b| ;|", "||a"])
def test_elements_of_several_values_are_pooled_as_tensorflow_does(combiner: str, cells: list[str]) -> None:
    extra = f'hash_bucket_size: 60 embedding_dim: 4 seq_multi_sep: "; " combiner: "{combiner}"'
    packer = packer_for(_feature("t", extra), ["t"])
    table = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    outer = tf.strings.split(cells, "|").to_sparse()
    inner = tf.raw_ops.StringSplit(input=outer.values, delimiter="; ", skip_empty=True)
    places = tf.concat([tf.gather(outer.indices, inner.indices[:, 0]), inner.indices[:, 1:]], axis=1)
    ids = tf.SparseTensor(
        places,
        tf.strings.to_hash_bucket_fast(inner.values, 60),
        [len(cells), max(1, int(outer.dense_shape[1])), max(1, int(inner.shape[1]))],
    )
    padded = _padded_reference(table, ids, None, combiner, ids.dense_shape)
    lengths = [
        int(max((t + 1 for b, t, _ in places.numpy() if b == i), default=0)) for i in range(len(cells))
    ]
    found = _sequence(packer, table, t=[c.encode() for c in cells])
    _assert_sequence(found, padded.reshape(len(cells), -1, 4), lengths)


def test_an_empty_history_is_one_empty_element_or_none_with_two_levels() -> None:
    table = np.eye(60, 4, dtype=np.float32)
    one = packer_for(_feature("t", "hash_bucket_size: 60 embedding_dim: 4"), ["t"])
    assert _sequence(one, table, t=[b"", b"a"]).lengths.numpy().tolist() == [1, 1]
    two = packer_for(_feature("t", 'hash_bucket_size: 60 embedding_dim: 4 seq_multi_sep: ";"'), ["t"])
    assert _sequence(two, table, t=[b"", b"a|"]).lengths.numpy().tolist() == [0, 1]


def test_cutting_counts_elements_as_easyrec_does() -> None:
    """A row's length is that of its values, however many of them are cut off."""
    extra = 'hash_bucket_size: 60 embedding_dim: 4 seq_multi_sep: ";" max_seq_len: 2'
    packer = packer_for(_feature("t", extra), ["t"])
    found = _sequence(packer, np.ones((60, 4), np.float32), t=[b"a||b", b"a||", b"a|b|c"])
    assert found.lengths.numpy().tolist() == [2, 1, 2]
    assert found.values.numpy()[:, 0].tolist() == [1, 0, 1, 1, 1]


_NUMBER = "sub_feature_type: RawFeature"


def test_numbers_fill_sequence_length_and_buckets_keep_their_own() -> None:
    raw = packer_for(_feature("t", f"{_NUMBER} sequence_length: 3"), ["t"])
    packed = pack(raw, t=[b"1.5|-2", b"7"])
    assert packed["lengths"].tolist() == [[3], [3]]
    assert packed["sequence_numbers"].tolist() == [1.5, -2, 0, 7, 0, 0]
    vectors = packer_for(
        _feature("t", f'{_NUMBER} sequence_length: 2 raw_input_dim: 2 seq_multi_sep: ";"'), ["t"]
    )
    assert pack(vectors, t=[b"1;2|3", b""])["sequence_numbers"].tolist() == [1, 2, 3, 0, 0, 0, 0, 0]
    table = np.arange(12, dtype=np.float32).reshape(3, 4)
    buckets = packer_for(_feature("t", f"{_NUMBER} boundaries: [0, 2] embedding_dim: 4"), ["t"])
    found = _sequence(buckets, table, t=[b"-1|0|2", b"1"])
    np.testing.assert_array_equal(found.values, table[[0, 1, 2, 1]])
    assert found.lengths.numpy().tolist() == [3, 1]


def test_projected_numbers_are_coefficients_of_learnt_vectors() -> None:
    table = np.asarray([[1.0, 2.0], [10.0, 20.0]], np.float32)
    one = packer_for(_feature("t", f"{_NUMBER} sequence_length: 3 embedding_dim: 2"), ["t"])
    found = _sequence(one, table[:1], t=[b"2|-1"])
    np.testing.assert_array_equal(found.values, [[2, 4], [-1, -2], [0, 0]])
    extra = f'{_NUMBER} sequence_length: 2 raw_input_dim: 2 seq_multi_sep: ";" embedding_dim: 2'
    two = packer_for(_feature("t", extra), ["t"])
    np.testing.assert_array_equal(_sequence(two, table, t=[b"1;2|3"]).values, [[21, 42], [3, 6]])
    mean = packer_for(_feature("t", f'{_NUMBER} sequence_length: 3 embedding_dim: 2 combiner: "mean"'), ["t"])
    np.testing.assert_array_equal(_sequence(mean, table[:1], t=[b"2|-1"]).values, [[1, 2], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("extra", "cell", "problem"),
    [
        ("num_buckets: 9 embedding_dim: 4", b"1||2", "'' is not an INT64"),
        (f"{_NUMBER} boundaries: [0] embedding_dim: 4", b"1|x", "'x' is not a DOUBLE"),
        (f"{_NUMBER} sequence_length: 2", b"1|2|3", "found 3 elements, but sequence_length is 2"),
        (
            f'{_NUMBER} sequence_length: 2 raw_input_dim: 2 seq_multi_sep: ";"',
            b"1;2;3",
            "found 3 numbers, but raw_input_dim is 2",
        ),
    ],
)
def test_bad_elements_name_their_place(extra: str, cell: bytes, problem: str) -> None:
    good = b"1|2" if ";" not in extra else b"1;2"
    with pytest.raises(DataError, match=f"f.csv, row 2, column 't': {problem}"):
        pack(packer_for(_feature("t", extra), ["t"]), t=[good, cell])
    kept = packer_for(_feature("t", extra), ["t"], ignore_error=True)
    fields = kept.plan.fields  # type: ignore[attr-defined]
    cells = {"t": [good, cell, good]}
    columns = [pa.array(cells.get(f.name, [b""] * 3), pa.binary()) for f in fields]
    batch = pa.RecordBatch.from_arrays(columns, [f.name for f in fields])
    rows, arrays = kept.pack(batch, str)
    assert rows == 2
    assert arrays["lengths"].tolist() == [[2], [2]] or arrays["lengths"].tolist() == [[1], [1]]


def test_lists_are_sequences_as_they_are() -> None:
    ids = packer_for(_feature("t", "hash_bucket_size: 60 embedding_dim: 4"), ["t"])
    texts, numbers = pa.array([["a", None], [], None]), pa.array([[1, 2], [], None], pa.list_(pa.int32()))
    for column, words in ((texts, ["a", ""]), (numbers, ["1", "2"])):
        packed = pack(ids, t=column)
        assert packed["lengths"].tolist() == [[2], [0], [0]]
        hashed = tf.strings.to_hash_bucket_fast(words, 60).numpy().tolist()
        assert packed["bank0/rows"][packed["bank0/sequence_index"] - 1].tolist() == hashed
    raw = packer_for(_feature("t", f"{_NUMBER} sequence_length: 2"), ["t"])
    assert pack(raw, t=pa.array([[0.1, 3.0], []]))["sequence_numbers"].tolist() == [
        np.float32(0.1), 3, 0, 0
    ]  # fmt: skip
    for packer in (raw, ids):
        with pytest.raises(DataError, match="row 1, column 't': a list can't be used here"):
            pack(packer, t=pa.array([[[1.0]]]))


_FIELDS = (
    ("label", "INT32"),
    ("u", "STRING"),
    ("i", "STRING"),
    ("c", "STRING"),
    ("h", "STRING"),
    ("k", "STRING"),
)


def _attention_plan(groups: str, features: str = "") -> FeaturePlan:
    fields = " ".join(f'input_fields {{ input_name: "{n}" input_type: {t} }}' for n, t in _FIELDS)
    ids = " ".join(f'features {{ input_names: "{n}" hash_bucket_size: 30 embedding_dim: 4 }}' for n in "uic")
    histories = " ".join(_feature(n, "hash_bucket_size: 30 embedding_dim: 4") for n in "hk")
    text = f"""data_config {{ {fields} label_fields: "label" input_type: CSVInput }}
    feature_config {{ {ids} {histories} {features} }}
    model_config {{ model_class: "DropoutNet" dropoutnet {{}} {groups} }}"""
    return build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))


_ATTENTION = """feature_groups { group_name: "user" feature_names: "u" feature_names: "i" }
seq_att_groups { group_name: "din" seq_att_map { key: "i" hist_seq: "h" } seq_att_map { key: "c" hist_seq: "k" } }"""
_INSIDE = """feature_groups { group_name: "all" feature_names: ["u", "i", "c"] sequence_features {
group_name: "s" seq_att_map { key: ["i", "c"] hist_seq: ["h", "k"] aux_hist_seq: "h" } } }"""


def _inputs(plan: FeaturePlan, h: list[bytes], k: list[bytes]) -> ModelInputs:
    columns = {"h": h, "k": k, **{n: [b"x", b"y", b""][: len(h)] for n in "uic"}}
    arrays = [pa.array(columns.get(f.name, [b"0"] * len(h)), pa.binary()) for f in plan.fields]
    _, packed = Packer(plan).pack(
        pa.RecordBatch.from_arrays(arrays, [f.name for f in plan.fields]), lambda i: f"f.csv, row {i + 1}"
    )
    table = tf.random.stateless_normal([plan.banks[0].rows, 4], [1, 2])
    batch = {name: tf.constant(array) for name, array in packed.items()}
    batch["dense"] = tf.zeros([len(h), 0])
    return ModelInputs(plan, batch, [tf.gather(table, batch["bank0/rows"])])


@pytest.mark.parametrize("run", ["din_taobao", "bst_taobao", "dbmtl_sequence_feature", "pdn_taobao",
    "mind_taobao", "dbmtl_multi_numeric_boundary_allow_key_transform"])  # fmt: skip
def test_table_names_are_those_of_easyrec(shared: pathlib.Path, run: str) -> None:
    proto = load(str(shared / "golden2" / run / "pipeline.config")).proto
    model = proto.model_config
    if model.model_class not in SPECS:
        # Any class that builds the groups in the same order.
        kind = model.WhichOneof("model")
        model.model_class = "MultiTower" if kind == "multi_tower" else "DropoutNet"
        if kind != "multi_tower":
            model.ClearField(kind)
            model.dropoutnet.SetInParent()
    names = tf.train.load_checkpoint(
        str(shared / "golden2" / run / "model.ckpt-0")
    ).get_variable_to_shape_map()
    expected = {n: s for n, s in names.items() if n.endswith("/embedding_weights")}
    assert {t.name: [t.rows, t.dim] for t in build_plan(proto).tables} == expected


@pytest.mark.parametrize("groups", [_ATTENTION, _INSIDE])
def test_histories_lie_side_by_side(groups: str) -> None:
    plan = _attention_plan(groups)
    inputs = _inputs(plan, [b"a|b", b"c", b""], [b"d|e", b"f", b"g"])
    group = plan.attention.get("din") or plan.groups["all"].attention[0]
    found = inputs.attention(group)
    assert isinstance(found, AttentionInputs)
    assert found.query.shape == [3, 8]
    assert found.history.values.shape == [4, 8]
    assert found.history.rows.numpy().tolist() == [0, 0, 1, 2]
    alone = [inputs.sequence([f]).values for f in group.histories]
    np.testing.assert_array_equal(found.history.values, tf.concat(alone, axis=1))
    for auxiliary in found.auxiliary:
        np.testing.assert_array_equal(auxiliary.rows, found.history.rows)


def test_each_embedding_is_penalised_once() -> None:
    plan = _attention_plan(_INSIDE)
    inputs = _inputs(plan, [b"a|b", b"c"], [b"d|e", b"f"])
    rows = inputs.concat("all")
    found = inputs.attention(plan.groups["all"].attention[0])
    inputs.attention(plan.groups["all"].attention[0])
    # Auxiliary histories are left out, as in EasyRec.
    squared = [tf.nn.l2_loss(t) for t in (rows, found.history.values)]
    np.testing.assert_allclose(inputs.squared, tf.add_n(squared), rtol=1e-6)


def test_histories_of_one_group_have_equal_lengths() -> None:
    plan = _attention_plan(_ATTENTION)
    with pytest.raises(
        DataError, match=r"row 2, column 'k': has 1 elements, but column 'h' has 2; histories of"
    ):
        _inputs(plan, [b"a|b", b"c|d"], [b"d|e", b"f"])


def test_lengths_that_may_differ_are_not_laid_side_by_side() -> None:
    plan = _attention_plan('feature_groups { group_name: "all" feature_names: ["h", "k"] }')
    inputs = _inputs(plan, [b"a|b"], [b"d"])
    with pytest.raises(ValueError, match="lengths may differ: h, k"):
        inputs.sequence(plan.groups["all"].sequences)
    with pytest.raises(
        ConfigError,
        match="'all': sequences can't be concatenated with features of one value per row here: h, k",
    ):
        inputs.concat("all")


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (_ATTENTION.replace('hist_seq: "h"', 'hist_seq: "i"'), "'i' must have feature_type: SequenceFeature"),
        (_ATTENTION.replace('key: "i"', 'key: "h"'), "the key 'h' is a sequence"),
        (_ATTENTION.replace('key: "i"', 'key: "nobody"'), "no feature is named 'nobody'"),
        (_INSIDE.replace('["u", "i", "c"]', '"u"'), "the key 'i' is not in the same feature group"),
        ('seq_att_groups { group_name: "din" seq_att_map { key: "i" } }', "seq_att_map has no hist_seq"),
        ('feature_groups { group_name: "w" wide_deep: WIDE feature_names: "h" }', "can't be in a wide group"),
    ],
)
def test_groups_that_make_no_sense_are_refused(groups: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _attention_plan(groups)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("embedding_dim: 4", "hash_bucket_size"),
        ("hash_bucket_size: 9", "embedding_dim: must be above 0"),
        ("hash_bucket_size: 9 embedding_dim: 4 sub_feature_type: TagFeature", "sub_feature_type"),
        (f"hash_bucket_size: 9 embedding_dim: 4 {_NUMBER}", "numbers aren't hashed"),
        (f"num_buckets: 9 embedding_dim: 4 {_NUMBER}", "need max_val above min_val"),
        (f"{_NUMBER} raw_input_dim: 2", "need both"),
        (f"{_NUMBER} max_seq_len: 2", "max_seq_len"),
        ('hash_bucket_size: 9 embedding_dim: 4 combiner: "max"', "combiner"),
        ('hash_bucket_size: 9 embedding_dim: 4 separator: ""', "separator"),
    ],
)
def test_fields_that_do_not_fit_are_refused(extra: str, problem: str) -> None:
    feature = _feature("t", extra)
    if "separator" in extra:
        feature = feature.replace('separator: "|"', "")
    with pytest.raises(ConfigError, match=problem):
        packer_for(feature, ["t"])
