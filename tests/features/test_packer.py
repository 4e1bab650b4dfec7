"""Packed batches against TensorFlow's own transforms."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from features.packing import ids, pack, packer_for
from google.protobuf import text_format
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.config.protos import pipeline_pb2
from hvdrec.data.batch import BEGINNING, RowBlock
from hvdrec.errors import ConfigError, DataError
from hvdrec.features import Packer, build_plan
from hvdrec.features.fields import heads_of
from hvdrec.losses.labels import label_ranges
from hvdrec.ops.native import load_native


@given(texts=st.lists(st.binary(max_size=200), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_hash_is_tensorflows(texts: list[bytes]) -> None:
    native = load_native()
    expected = tf.strings.to_hash_bucket_fast(texts, 2**31 - 1).numpy()
    assert [native.fingerprint64(t) % (2**31 - 1) for t in texts] == expected.tolist()


@given(texts=st.lists(st.binary(min_size=1, max_size=40), min_size=1), buckets=st.integers(1, 2**31 - 1))
@example(texts=[b"x"], buckets=1)
@example(texts=[b"x", b"y"], buckets=2**30)
@settings(max_examples=60, deadline=None)
def test_buckets_of_any_number_are_the_remainder(texts: list[bytes], buckets: int) -> None:
    packer = packer_for(
        f'features {{ input_names: "s" hash_bucket_size: {buckets} embedding_dim: 4 }}', ["s"]
    )
    native = load_native()
    assert ids(pack(packer, s=texts)) == [native.fingerprint64(t) % buckets for t in texts]


@pytest.mark.parametrize("buckets", [50, 60_000, 70_000, 2_000_000_000])
def test_distinct_ids_are_numbered_by_first_appearance(buckets: int) -> None:
    generator = np.random.default_rng(1)
    packer = packer_for(f'features {{ input_names: "n" num_buckets: {buckets} embedding_dim: 4 }}', ["n"])
    for rows in (5000, 0, 5000, 10):
        values = generator.integers(0, min(buckets, 4000), rows) * (buckets // min(buckets, 4000))
        packed = pack(packer, n=[str(v).encode() for v in values])
        assert packed["bank0/rows"].tolist() == list(dict.fromkeys(values.tolist()))
        assert ids(packed) == values.tolist()


@given(
    text=st.from_regex(r"\A-?[0-9]{0,17}\.?[0-9]{0,17}\Z")
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.text("0123456789.-+e ", max_size=8)
)
@settings(max_examples=300, deadline=None)
def test_numbers_are_the_nearest_to_what_is_written(text: str) -> None:
    packer = packer_for('features { input_names: "x" feature_type: RawFeature }', ["x"])
    try:
        with np.errstate(over="ignore"):
            expected = np.float32(float(text or 0))
    except ValueError:
        with pytest.raises(DataError, match="is not a DOUBLE"):
            pack(packer, x=[text.encode()])
        return
    if not np.isfinite(expected):
        with pytest.raises(DataError, match="is too large for"):
            pack(packer, x=[text.encode()])
        return
    found = pack(packer, x=[text.encode()])["dense"][0, 0]
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(("text", "bucket"), [(b"a", 39), (b"b", 22), (b"123", 31), (b"", 63)])
def test_known_hashes(text: bytes, bucket: int) -> None:
    assert load_native().fingerprint64(text) % 100 == bucket


def test_hashed_ids_and_canonical_integers() -> None:
    packer = packer_for(
        'features { input_names: "s" hash_bucket_size: 100 embedding_dim: 4 }'
        'features { input_names: "n" hash_bucket_size: 100 embedding_dim: 4 }',
        ["s", "n"],
    )
    packed = pack(packer, s=[b"a", b"", b"b"], n=[b"007", b"7", b"+7"])
    assert ids(packed) == [39, -1, 22]
    seven = 100 + int(tf.strings.to_hash_bucket_fast("7", 100))
    assert ids(packed, 1) == [seven] * 3
    assert sorted(packed["bank0/rows"]) == sorted({39, 22, seven})


def test_identity_and_vocabulary() -> None:
    packer = packer_for(
        'features { input_names: "n" num_buckets: 10 embedding_dim: 4 }'
        'features { input_names: "s" vocab_list: ["x", "y"] embedding_dim: 4 }',
        ["n", "s"],
    )
    packed = pack(packer, n=[b"3", b"-1", b"10", b""], s=[b"y", b"z", b"", b"x"])
    assert ids(packed) == [3, -1, 0, 0]
    assert ids(packed, 1) == [11, 10, -1, 10]


@given(x=st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1, max_size=20))
@settings(max_examples=40, deadline=None)
def test_buckets_are_tensorflows(x: list[float]) -> None:
    bounds = [-5.0, 0.0, 2.5, 50.0]
    packer = packer_for(
        f'features {{ input_names: "x" feature_type: RawFeature boundaries: {bounds} embedding_dim: 2 }}',
        ["x"],
    )
    packed = pack(packer, x=[repr(v).encode() for v in x])
    expected = tf.raw_ops.Bucketize(input=tf.constant(x, tf.float32), boundaries=bounds)
    assert ids(packed) == expected.numpy().tolist()


def test_numbers_are_scaled_and_normalised() -> None:
    packer = packer_for(
        'features { input_names: "x" feature_type: RawFeature min_val: 1 max_val: 5 normalizer_fn: "tf.math.log1p" }'
        'features { input_names: "v" feature_type: RawFeature raw_input_dim: 3 }',
        ["x", "v"],
    )
    packed = pack(packer, x=[b"3", b""], v=[b"1|2|3", b"4"])
    np.testing.assert_allclose(
        packed["dense"], [[np.log1p(0.5), 1, 2, 3], [np.log1p(-0.25), 4, 0, 0]], rtol=1e-6
    )


def test_normalizers_from_anywhere_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"os\.system"):
        packer_for('features { input_names: "x" feature_type: RawFeature normalizer_fn: "os.system" }', ["x"])


@pytest.mark.parametrize(
    ("combiner", "weights"),
    [("sum", [1.0, 2.0, -1.0]), ("mean", [1.0, 2.0]), ("sqrtn", [1.0, 2.0])],
)
def test_weights_are_those_of_the_data_and_positive_where_the_combiner_wants_it(
    combiner: str, weights: list[float]
) -> None:
    packer = packer_for(
        f"""features {{ input_names: "t" feature_type: TagFeature separator: "|" kv_separator: ":"
        hash_bucket_size: 50 embedding_dim: 4 combiner: "{combiner}" }}""",
        ["t"],
    )
    packed = pack(packer, t=[b"", b"a:1|b:2||c:-1", b""])
    np.testing.assert_allclose(packed["bank0/multi_weight"], weights, rtol=1e-6)
    assert packed["bank0/multi_segment"].tolist() == [1] * len(weights)
    expected = tf.strings.to_hash_bucket_fast(["a", "b", "c"][: len(weights)], 50).numpy()
    assert packed["bank0/rows"][packed["bank0/multi_index"] - 1].tolist() == expected.tolist()


@given(pairs=st.lists(st.tuples(st.text("abc", min_size=1), st.integers(-99, 99)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_crosses_are_tensorflows(pairs: list[tuple[str, int]]) -> None:
    packer = packer_for(
        """features { feature_name: "c" input_names: ["s", "n"] feature_type: ComboFeature
        hash_bucket_size: 1000 embedding_dim: 4 }""",
        ["c"],
    )
    packed = pack(packer, s=[a.encode() for a, _ in pairs], n=[str(b).encode() for _, b in pairs])
    rows = len(pairs)
    places = tf.constant([[i, 0] for i in range(rows)], tf.int64)
    crossed = tf.raw_ops.SparseCross(
        indices=[places, places],
        values=[tf.constant([a for a, _ in pairs]), tf.constant([str(b) for _, b in pairs])],
        shapes=[tf.constant([rows, 1], tf.int64)] * 2,
        dense_inputs=[],
        hashed_output=True,
        num_buckets=1000,
        hash_key=0xDECAFCAFFE,
        out_type=tf.int64,
        internal_type=tf.string,
    )
    assert ids(packed) == crossed.output_values.numpy().tolist()


def test_a_bad_cell_names_its_place() -> None:
    packer = packer_for('features { input_names: "n" num_buckets: 10 embedding_dim: 4 }', ["n"])
    with pytest.raises(DataError, match=r"f.csv, row 2, column 'n': 'abc' is not an INT32"):
        pack(packer, n=[b"1", b"abc"])


def test_no_rows_and_slices(tmp_path: pathlib.Path) -> None:
    job = SmallJob(tmp_path / "t.csv", tmp_path / "m", model="DLRM")
    plan = build_plan(load(str(job.write(tmp_path / "c.config"))).proto)
    batch = pa.RecordBatch.from_arrays(
        [pa.array([b"1", b"2", b"3"], pa.binary()) for _ in plan.fields], [f.name for f in plan.fields]
    )
    packer = Packer(plan)
    rows, empty = packer.pack(batch.slice(1, 0), str)
    assert rows == 0
    _, whole = packer.pack(batch, str)
    _, part = packer.pack(batch.slice(1, 2), str)
    assert empty.keys() == whole.keys() == part.keys()
    np.testing.assert_array_equal(part["dense"], whole["dense"][1:])
    np.testing.assert_array_equal(part["label/label"], [2, 3])


@pytest.mark.parametrize("run", ["deepfm_adult", "wide_and_deep_adult", "multi_tower_two_losses_adult"])
def test_table_names_are_those_of_easyrec(shared: pathlib.Path, run: str) -> None:
    plan = build_plan(load(str(shared / "golden" / run / "pipeline.config")).proto)
    names = tf.train.load_checkpoint(
        str(shared / "golden" / run / "model.ckpt-0")
    ).get_variable_to_shape_map()
    expected = {n: s for n, s in names.items() if n.endswith("/embedding_weights")}
    assert {t.name: [t.rows, t.dim] for t in plan.tables} == expected


NOT_FINITE = [b"nan", b"-inf", b"1e39", b"1e400"]


@pytest.mark.parametrize("cell", NOT_FINITE)
@pytest.mark.parametrize(
    ("feature", "column", "good"),
    [
        ('input_names: "x" feature_type: RawFeature', "x", b"1"),
        ('input_names: "f" feature_type: RawFeature normalizer_fn: "tf.math.tanh"', "f", b"1"),
        ('input_names: "s" feature_type: RawFeature', "s", b"1"),
        ('input_names: "v" feature_type: RawFeature raw_input_dim: 2', "v", b"1|2"),
        ('input_names: "x" feature_type: RawFeature boundaries: [0, 2] embedding_dim: 4', "x", b"1"),
        ('input_names: "x" feature_type: RawFeature embedding_dim: 4', "x", b"1"),
        ('input_names: "x" hash_bucket_size: 9 embedding_dim: 4 precision: 3', "x", b"1"),
        (
            'input_names: "t" feature_type: TagFeature hash_bucket_size: 9 embedding_dim: 4 kv_separator: ":"',
            "t",
            b"a:1",
        ),
        (
            'feature_name: "t" input_names: ["t", "v"] feature_type: TagFeature hash_bucket_size: 9 '
            "embedding_dim: 4",
            "v",
            b"1",
        ),
    ],
)
def test_a_cell_that_is_not_finite_is_named(feature: str, column: str, good: bytes, cell: bytes) -> None:
    """It would end training without its column's name, and be scored like any other in prediction."""
    if "hash_bucket_size: 9 embedding_dim: 4 precision" in feature and cell == b"1e39":
        return  # Such an id is a double, whose text is finite.
    bad = {b"a:1": b"a:" + cell, b"1|2": b"1|" + cell}.get(good, cell)
    name = "t" if "TagFeature" in feature else column
    columns = {"t": [b"a", b"a"]} if '"t", "v"' in feature else {}
    columns[column] = [good, bad]
    told = (
        "'(1\\|)?1e(39|400)' is too large for|1e\\+39 is too large for"
        if cell[:2] == b"1e"
        else "-?(nan|inf) is not a finite"
    )
    with pytest.raises(DataError, match=rf"f.csv, row 2, column '{column}': ({told})"):
        pack(packer_for(f"features {{ {feature} }}", [name]), **columns)
    packer = packer_for(f"features {{ {feature} }}", [name], ignore_error=True)
    fields = packer.plan.fields  # type: ignore[attr-defined]
    arrays = [pa.array(columns.get(f.name, [b"", b""]), pa.binary()) for f in fields]
    batch = RowBlock(pa.RecordBatch.from_arrays(arrays, [f.name for f in fields]), str, BEGINNING)
    packed = packer.pack_block(batch)
    assert (packed.rows, packed.bad_rows) == (1, 1)


@pytest.mark.parametrize(("feature", "refused"), [("", True), ("boundaries: [0, 2] embedding_dim: 4", False)])
def test_what_a_normalizer_makes_of_a_number_is_finite(feature: str, refused: bool) -> None:
    """In buckets an infinite number has a place: below or above all boundaries."""
    feature = f'features {{ input_names: "x" feature_type: RawFeature normalizer_fn: "log" {feature} }}'
    packer = packer_for(feature, ["x"])
    if refused:
        with pytest.raises(
            DataError, match=r"row 2, column 'x': -inf, after normalizer_fn log, is not a finite"
        ):
            pack(packer, x=[b"1", b"0"])
    else:
        assert ids(pack(packer, x=[b"2", b"0"])) == [1, 0]
    with pytest.raises(DataError, match=r"row 2, column 'x': nan, after normalizer_fn log, is not a finite"):
        pack(packer, x=[b"1", b"-1"])


@pytest.mark.parametrize(
    ("losses", "allowed", "refused", "told"),
    [
        ("", [0, 0.25, 1], [-1, 2, 1.5], "CLASSIFICATION accepts numbers from 0 to 1"),
        ("loss_type: SIGMOID_L2_LOSS", [0, 1], [-1, 2], "SIGMOID_L2_LOSS accepts"),
        ("loss_type: CROSS_ENTROPY_LOSS", [0, 1], [-1, 2], "CROSS_ENTROPY_LOSS accepts"),
        ("loss_type: BINARY_CROSS_ENTROPY_LOSS", [0, 1], [-1, 2], "BINARY_CROSS_ENTROPY_LOSS accepts"),
        ("losses { loss_type: BINARY_FOCAL_LOSS }", [0, 1], [-1, 2], "BINARY_FOCAL_LOSS accepts"),
        ("losses { loss_type: F1_REWEIGHTED_LOSS }", [0, 1], [-1, 2], "F1_REWEIGHTED_LOSS accepts"),
        ("loss_type: L2_LOSS", [-1, 2, 1e9], [], ""),
        ("losses { loss_type: PAIR_WISE_LOSS }", [-1, 0, 4], [], ""),
        ("losses { loss_type: PAIR_WISE_LOSS } losses { loss_type: CLASSIFICATION }", [0], [4], "CLASSIF"),
        ("num_class: 3", [0, 2], [3, -1, 0.5], "num_class is 3; use whole numbers from 0 to 2"),
    ],
)
def test_labels_that_the_losses_do_not_take_are_named(
    losses: str, allowed: list[float], refused: list[float], told: str
) -> None:
    fields = "".join(f'input_fields {{ input_name: "{n}" input_type: DOUBLE }} ' for n in ("y", "z"))
    text = f"""data_config {{ {fields} input_fields {{ input_name: "s" }} label_fields: ["z", "y"]
      input_type: CSVInput }}
    feature_config {{ features {{ input_names: "s" hash_bucket_size: 5 embedding_dim: 4 }} }}
    model_config {{ model_class: "DCN" label_name: "y" {losses} dcn {{}}
      feature_groups {{ group_name: "all" feature_names: "s" }} }}"""
    proto = text_format.Parse(text, pipeline_pb2.EasyRecConfig())
    packer = Packer(build_plan(proto, label_ranges(heads_of(proto))))

    def labels(*values: float) -> list[float]:
        columns = {"y": pa.array(values), "z": pa.array([-7.0] * len(values)), "s": pa.nulls(len(values))}
        names = [f.name for f in build_plan(proto).fields]
        batch = pa.RecordBatch.from_arrays([columns[n] for n in names], names)
        return packer.pack(batch, lambda i: f"f.csv, row {i + 1}")[1]["label/y"].tolist()

    assert labels(*map(float, allowed)) == np.asarray(allowed, np.float32).tolist()
    for value in refused:
        with pytest.raises(DataError, match=f"f.csv, row 2, column 'y': label {value}, but {told}"):
            labels(1.0, float(value))


def test_a_label_that_is_a_word_says_what_to_do() -> None:
    packer = packer_for('features { input_names: "s" hash_bucket_size: 5 embedding_dim: 4 }', ["s"])
    told = (
        "f.csv, row 2, column 'label': 'yes' is not an INT32; labels must be numbers; encode them in the data"
    )
    with pytest.raises(DataError, match=told):
        pack(packer, label=[b"1", b"yes"])
    numbers = packer_for('features { input_names: "n" num_buckets: 5 embedding_dim: 4 }', ["n"])
    with pytest.raises(DataError, match=r"'yes' is not an INT32$"):
        pack(numbers, n=[b"yes"])


@pytest.mark.parametrize("label", [b"3", b"-1", b"1.5", b"nan"])
def test_a_label_that_is_no_class_is_named(label: bytes) -> None:
    fields = 'input_fields { input_name: "label" input_type: DOUBLE } input_fields { input_name: "s" }'
    text = f"""data_config {{ {fields} label_fields: "label" input_type: CSVInput }}
    feature_config {{ features {{ input_names: "s" hash_bucket_size: 5 embedding_dim: 4 }} }}
    model_config {{ model_class: "DCN" num_class: 3 feature_groups {{ group_name: "all" feature_names: "s" }}
      dcn {{}} }}"""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    names = [f.name for f in plan.fields]
    columns = {"label": [b"0", b"2", label], "s": [b"a", b"b", b"c"]}
    batch = pa.RecordBatch.from_arrays([pa.array(columns[n], pa.binary()) for n in names], names)
    with pytest.raises(DataError, match=r"row 3, .*label"):
        Packer(plan).pack(batch, lambda i: f"f.csv, row {i + 1}")
    kept = Packer(plan, ignore_error=True).pack(batch, lambda i: f"f.csv, row {i + 1}")
    assert kept[1]["label/label"].tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("price", b"nan", "nan"),
        ("price", b"-inf", "-inf"),
        ("both", b"1;nan", "nan"),
        ("w", b"inf", "inf"),
    ],
)
def test_a_label_or_weight_that_is_not_finite_is_named(column: str, value: bytes, found: str) -> None:
    """A NaN among them would end training, or count as a positive row in an evaluation."""
    fields = "".join(
        f'input_fields {{ input_name: "{name}" input_type: {kind} }} '
        for name, kind in (("price", "FLOAT"), ("both", "STRING"), ("w", "DOUBLE"), ("s", "STRING"))
    )
    text = f"""data_config {{ {fields} label_fields: "price" label_fields: "both" label_dim: 1 label_dim: 2
      label_sep: "," label_sep: ";" sample_weight: "w" input_type: CSVInput }}
    feature_config {{ features {{ input_names: "s" hash_bucket_size: 5 embedding_dim: 4 }} }}
    model_config {{ model_class: "DCN" loss_type: L2_LOSS label_name: "price"
      feature_groups {{ group_name: "all" feature_names: "s" }} dcn {{}} }}"""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    names = [f.name for f in plan.fields]
    columns = {"price": [b"1.5", b"2"], "both": [b"1;2", b"3;4"], "w": [b"1", b"2"], "s": [b"a", b"b"]}
    columns[column][1] = value
    batch = pa.RecordBatch.from_arrays([pa.array(columns[n], pa.binary()) for n in names], names)
    with pytest.raises(DataError, match=rf"f.csv, row 2, .*{column}.*: {found} is not a finite number"):
        Packer(plan).pack(batch, lambda i: f"f.csv, row {i + 1}")
    rows, kept = Packer(plan, ignore_error=True).pack(batch, lambda i: f"f.csv, row {i + 1}")
    assert rows == 1
    assert kept["label/price"].tolist() == [1.5]


_TARGETS = """data_config { input_fields { input_name: "label" input_type: INT32 }
  input_fields { input_name: "w" input_type: FLOAT } input_fields { input_name: "x" input_type: FLOAT }
  label_fields: "label" sample_weight: "w" input_type: CSVInput }
feature_config { features { input_names: "x" feature_type: RawFeature } }
model_config { model_class: "DCN" feature_groups { group_name: "all" feature_names: "x" } dcn {} }"""


def _targets(label: object, weight: object, x: object, text: str = _TARGETS) -> tuple[Packer, pa.RecordBatch]:
    """Two rows, the first of them good, in the types that are given."""
    plan = build_plan(text_format.Parse(text, pipeline_pb2.EasyRecConfig()))
    good = {"label": 1, "w": 1, "x": 1}
    cells = {"label": label, "w": weight, "x": x}
    columns = {
        name: [b"%d" % good[name], cell] if isinstance(cell, bytes) else [float(good[name]), cell]
        for name, cell in cells.items()
    }
    return Packer(plan), pa.RecordBatch.from_pydict({f.name: columns[f.name] for f in plan.fields})


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ((b"1", b"-0.5", b"1"), "column 'w': sample weight -0.5 is negative"),
        ((1.0, -2.0, 1.0), "column 'w': sample weight -2 is negative"),
        ((b"1", b"one", b"1"), "column 'w': 'one' is not a FLOAT; sample weights must be numbers"),
        ((b"1", b"1e39", b"1"), "column 'w': '1e39' is too large for 32-bit floats"),
        ((b"1", b"1", b"-1e39"), "column 'x': '-1e39' is too large for 32-bit floats"),
        ((b"1", b"1", b"1e400"), "column 'x': '1e400' is too large for a 64-bit float"),
        ((1.0, 1.0, 1e39), r"column 'x': 1e\+39 is too large for a 32-bit float"),
        ((b"1", b"1", b"-Infinity"), "column 'x': -inf is not a finite number"),
        (
            (b"1", b"1", b" x"),
            "column 'x': ' x' is not a FLOAT; if the file has a header, set data_config.with_header",
        ),
    ],
)
def test_the_cell_is_told_as_it_is(cells: tuple[object, ...], told: str) -> None:
    packer, rows = _targets(*cells)
    with pytest.raises(DataError, match=f"f.csv, row 2, {told}$"):
        packer.pack(rows, lambda i: f"f.csv, row {i + 1}")


@pytest.mark.parametrize(
    ("cells", "column"), [((b"", b"1"), "label"), ((None, 1.0), "label"), ((b"1", b""), "w")]
)
def test_an_empty_label_or_weight_is_told_once(cells: tuple[object, object], column: str) -> None:
    """It counts as 0, as in EasyRec, which nobody would see."""
    packer, rows = _targets(*cells, b"")
    block = RowBlock(rows, lambda i: f"f.csv, row {i + 1}", BEGINNING)
    notice = packer.pack_block(block).notice
    assert notice is not None
    assert notice.startswith(f"f.csv, row 2, column '{column}': is empty and counts as 0")
    assert packer.pack_block(block).notice is None
    meant = _TARGETS.replace(f'"{column}" input_type', f'"{column}" default_val: "0" input_type', 1)
    packer, rows = _targets(*cells, b"", meant)
    assert packer.pack_block(RowBlock(rows, str, BEGINNING)).notice is None
