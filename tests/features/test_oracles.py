"""Features of several values against the operations that EasyRec builds on."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from features.packing import ids, model_inputs, pack, packer_for, several
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdrec.features import Packer

few = settings(max_examples=40, deadline=None)
_WORDS = st.lists(st.binary(min_size=1, max_size=6).filter(lambda t: not set(t) & set(b"|:,")), max_size=4)
_NUMBERS = st.integers(-40, 40).map(lambda n: n / 8)


def _tags(combiner: str, extra: str = "", inputs: str = '"t"') -> str:
    return f"""features {{ feature_name: "t" input_names: [{inputs}] feature_type: TagFeature separator: "|,"
    hash_bucket_size: 90 embedding_dim: 4 combiner: "{combiner}" {extra} }}"""


def _looked_up(rows: list[list[tuple[bytes, float]]], combiner: str, weighted: bool) -> np.ndarray:
    """The result of tf.nn.safe_embedding_lookup_sparse for hashed tokens and their weights."""
    table = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    places = [[i, j] for i, row in enumerate(rows) for j in range(len(row))]
    shape = [len(rows), max(1, *map(len, rows))]
    tokens = [token for row in rows for token, _ in row]
    hashed = tf.strings.to_hash_bucket_fast(tf.constant(tokens, tf.string), 90)
    where = tf.constant(places, tf.int64, [len(places), 2])
    weights = tf.SparseTensor(where, tf.constant([w for row in rows for _, w in row], tf.float32), shape)
    return tf.nn.safe_embedding_lookup_sparse(
        table, tf.SparseTensor(where, hashed, shape), weights if weighted else None, combiner=combiner
    ).numpy()


def _pooled(packer: Packer, packed: dict[str, np.ndarray]) -> np.ndarray:
    table = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    return model_inputs(packer, packed, table).concat("all").numpy()


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@few
@given(rows=st.lists(_WORDS, min_size=1, max_size=6))
@example(rows=[[], [b"a"], []])
def test_tags_are_pooled_as_tensorflow_does(combiner: str, rows: list[list[bytes]]) -> None:
    packer = packer_for(_tags(combiner), ["t"])
    packed = pack(packer, t=[b"|".join(row) for row in rows])
    expected = _looked_up([[(t, 1.0) for t in row] for row in rows], combiner, False)
    np.testing.assert_allclose(_pooled(packer, packed), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("second_input", [False, True])
@few
@given(data=st.data())
def test_weighted_tags_are_pooled_as_tensorflow_does(
    combiner: str, second_input: bool, data: st.DataObject
) -> None:
    word = st.text("abcdefghij", min_size=1, max_size=4).map(str.encode)
    row = st.lists(st.tuples(word, _NUMBERS), max_size=4)
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    if second_input:
        packer = packer_for(_tags(combiner, inputs='"t", "v"'), ["t"])
        cells = {
            "t": [b",".join(t for t, _ in row) for row in rows],
            "v": [b"|".join(str(w).encode() for _, w in row) for row in rows],
        }
    else:
        packer = packer_for(_tags(combiner, 'kv_separator: ":"'), ["t"])
        cells = {"t": [b"|".join(t + f":{w}".encode() for t, w in row) for row in rows]}
    expected = _looked_up(rows, combiner, True)
    np.testing.assert_allclose(_pooled(packer, pack(packer, **cells)), expected, rtol=1e-4, atol=1e-5)


@few
@given(rows=st.lists(st.tuples(_WORDS, st.integers(-99, 99), _WORDS), min_size=1, max_size=5))
def test_crosses_of_parts_are_all_combinations_in_tensorflows_order(
    rows: list[tuple[list[bytes], int, list[bytes]]],
) -> None:
    packer = packer_for(
        """features { feature_name: "c" input_names: ["t", "n", "v"] feature_type: ComboFeature
        hash_bucket_size: 5000 embedding_dim: 4 combo_input_seps: ["|", "", "|"] }""",
        ["c"],
    )
    packed = pack(
        packer,
        t=[b"|".join(t) for t, _, _ in rows],
        n=[str(n).encode() for _, n, _ in rows],
        v=[b"|".join(v) for _, _, v in rows],
    )
    columns = [
        tf.ragged.constant([part(row) for row in rows], dtype=tf.string, ragged_rank=1).to_sparse()
        for part in (lambda r: r[0], lambda r: [str(r[1])], lambda r: r[2])
    ]
    crossed = tf.raw_ops.SparseCross(
        indices=[c.indices for c in columns],
        values=[c.values for c in columns],
        shapes=[c.dense_shape for c in columns],
        dense_inputs=[],
        hashed_output=True,
        num_buckets=5000,
        hash_key=0xDECAFCAFFE,
        out_type=tf.int64,
        internal_type=tf.string,
    )
    expected: list[list[int]] = [[] for _ in rows]
    for (row, _), value in zip(crossed.output_indices.numpy(), crossed.output_values.numpy(), strict=True):
        expected[row].append(int(value))
    assert [[bank_row for bank_row, _ in row] for row in several(packer.plan, packed, len(rows))] == expected


@few
@given(rows=st.lists(st.tuples(st.binary(max_size=4), st.integers(-99, 99)), min_size=1, max_size=6))
def test_joined_texts_are_hashed_as_one(rows: list[tuple[bytes, int]]) -> None:
    packer = packer_for(
        """features { feature_name: "c" input_names: ["s", "n"] feature_type: ComboFeature
        hash_bucket_size: 5000 embedding_dim: 4 combo_join_sep: "_" }""",
        ["c"],
    )
    packed = pack(packer, s=[s for s, _ in rows], n=[str(n).encode() for _, n in rows])
    expected = tf.strings.to_hash_bucket_fast([s + f"_{n}".encode() for s, n in rows], 5000)
    assert ids(packed) == expected.numpy().tolist()


@few
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=8),
    precision=st.integers(1, 12),
    field=st.sampled_from(["x", "f"]),
)
def test_hashed_fractions_are_written_as_tensorflow_writes_them(
    values: list[float], precision: int, field: str
) -> None:
    packer = packer_for(
        f'features {{ input_names: "{field}" hash_bucket_size: 5000 embedding_dim: 4 precision: {precision} }}',
        [field],
    )
    kind = tf.float64 if field == "x" else tf.float32
    written = tf.strings.as_string(tf.constant(values, kind), precision=precision)
    expected = tf.strings.to_hash_bucket_fast(written, 5000).numpy().tolist()
    assert ids(pack(packer, **{field: [repr(v).encode() for v in values]})) == expected


@few
@given(
    rows=st.lists(st.lists(st.integers(-99, 99), max_size=3), min_size=1, max_size=6),
    scaled=st.booleans(),
)
def test_vectors_are_filled_up_scaled_and_bucketized(rows: list[list[int]], scaled: bool) -> None:
    extra = "min_val: -10 max_val: 30" if scaled else ""
    bounds = [-1.0, 0.25, 1.0]
    cells = [b"|".join(str(n).encode() for n in row) for row in rows]
    numbers = np.array([[*row, *[0] * (3 - len(row))] for row in rows], np.float32)
    if scaled:
        numbers = (numbers - np.float32(-10)) / np.float32(40)
    feature = f'input_names: "v" feature_type: RawFeature raw_input_dim: 3 {extra}'
    packed = pack(packer_for(f"features {{ {feature} }}", ["v"]), v=cells)
    np.testing.assert_array_equal(packed["dense"], numbers)
    packer = packer_for(f"features {{ {feature} boundaries: {bounds} embedding_dim: 4 }}", ["v"])
    buckets = tf.raw_ops.Bucketize(input=numbers, boundaries=bounds).numpy() + 4 * np.arange(3)
    found = several(packer.plan, pack(packer, v=cells), len(rows))
    assert [[bank_row for bank_row, _ in row] for row in found] == buckets.tolist()
    packer = packer_for(f"features {{ {feature} embedding_dim: 4 }}", ["v"])
    assert several(packer.plan, pack(packer, v=cells), len(rows)) == [
        list(enumerate(row)) for row in numbers.tolist()
    ]
