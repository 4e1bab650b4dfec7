"""Target attention on flat rows against the same on padded ones, in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import dnn_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers.attention.target import AttentionInputs, AttentionWidths, KeyOptions, TargetAttention
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.variables import VariableStore

WIDTH, EXTRA = 3, 2


def dnn(text: str) -> dnn_pb2.DNN:
    return text_format.Parse(text, dnn_pb2.DNN())


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer with random weights, and inputs for it."""

    layer: TargetAttention
    store: VariableStore
    inputs: AttentionInputs
    lengths: list[int]

    @property
    def values(self) -> dict[str, tf.Tensor]:
        found = {name: tf.cast(v, tf.float64) for name, v in self.store.variables_by_name.items()}
        q, history, (auxiliary,) = self.inputs
        flat = {"query": q, "history": history.values, "auxiliary": auxiliary.values}
        return {**found, **{name: tf.cast(v, tf.float64) for name, v in flat.items()}}


def make(
    config: str, lengths: list[int], seed: int = 0, query_width: int = WIDTH, key: KeyOptions | None = None
) -> Case:
    store, rng = VariableStore(seed=1), np.random.default_rng(seed)
    widths = AttentionWidths(query_width, WIDTH, [EXTRA])
    layer = TargetAttention(store, "din_dnn", dnn(config), widths, 0.0, key)
    for name, variable in store.variables_by_name.items():
        low, high = (0.5, 2.0) if name.endswith(("variance", "gamma")) else (-1.0, 1.0)
        variable.assign(rng.uniform(low, high, variable.shape))
    rows = tf.constant(np.repeat(np.arange(len(lengths)), lengths), tf.int32)

    def jagged(width: int) -> Jagged:
        values = tf.constant(rng.normal(size=(sum(lengths), width)), tf.float32)
        return Jagged(values, rows, tf.constant(lengths, tf.int32))

    query = tf.constant(rng.normal(size=(len(lengths), query_width)), tf.float32)
    return Case(layer, store, AttentionInputs(query, jagged(WIDTH), (jagged(EXTRA),)), lengths)


class Padded:
    """EasyRec's form: histories padded to the longest, batch norms over all positions; float64."""

    def __init__(self, values: dict[str, tf.Tensor], lengths: list[int], training: bool) -> None:
        self.values, self.lengths, self.training = values, lengths, training
        self.statistics: dict[str, tf.Tensor] = {}

    def norm(self, name: str, x: tf.Tensor, epsilon: float) -> tf.Tensor:
        mean, variance = self.values[f"{name}/moving_mean"], self.values[f"{name}/moving_variance"]
        if self.training:
            mean, variance = tf.reduce_mean(x, axis=0), tf.math.reduce_variance(x, axis=0)
            self.statistics |= {f"{name}/moving_mean": mean, f"{name}/moving_variance": variance}
        return (x - mean) / tf.sqrt(variance + epsilon)

    def hidden(self, x: tf.Tensor, scope: str) -> tf.Tensor:
        get = self.values.get
        x = x @ get(f"{scope}/kernel") + get(f"{scope}/bias")
        if f"{scope}/bn/gamma" in self.values:
            x = self.norm(f"{scope}/bn", x, 1e-3) * get(f"{scope}/bn/gamma") + get(f"{scope}/bn/beta")
        alpha = get(f"{scope}/dice/alpha")
        if alpha is None:
            return tf.nn.relu(x)
        p = tf.sigmoid(self.norm(f"{scope}/dice/bn", x, 1e-9))
        return p * x + (1.0 - p) * alpha * x

    def padded(self, name: str) -> tf.Tensor:
        places = [[row, t] for row, n in enumerate(self.lengths) for t in range(n)]
        shape = [len(self.lengths), max(self.lengths), self.values[name].shape[1]]
        return tf.scatter_nd(np.reshape(places, [-1, 2]).astype(np.int32), self.values[name], shape)

    def dense(self, name: str, x: tf.Tensor) -> tf.Tensor:
        scope = f"sequence_{name}_transform_layer_din_dnn"
        return tf.tensordot(x, self.values[f"{scope}/kernel"], 1) + self.values[f"{scope}/bias"]

    def __call__(self, layers: int, kept: bool = True) -> tf.Tensor:
        query, h = self.values["query"], self.padded("history")
        if any(name.startswith("sequence_") for name in self.values):
            query, h = self.dense("key", query), self.dense("fea", h)
        query = tf.pad(query, [[0, 0], [0, WIDTH - query.shape[1]]])
        q = tf.broadcast_to(query[:, tf.newaxis], h.shape)
        x = tf.reshape(tf.concat([q, h, q - h, q * h], axis=2), [-1, 4 * WIDTH])
        for i in range(layers - 1):
            x = self.hidden(x, f"din_dnn/dnn_{i}")
        last = f"din_dnn/dnn_{layers - 1}"
        scores = tf.reshape(x @ self.values[f"{last}/kernel"] + self.values[f"{last}/bias"], h.shape[:2])
        there = np.arange(h.shape[1]) < np.asarray(self.lengths)[:, None]
        shares = tf.nn.softmax(
            tf.where(there, scores, tf.fill(scores.shape, tf.constant(-(2.0**32), tf.float64)))
        )
        attended = [tf.einsum("bt,btd->bd", shares, each) for each in (h, self.padded("auxiliary"))]
        return tf.concat([*attended, query] if kept else attended, axis=1)


CONFIGS = {
    "norm": "hidden_units: [5, 4, 1] use_bn: true",
    "dice": 'hidden_units: [5, 4, 1] use_bn: false activation: "dice"',
    "norm_and_dice": 'hidden_units: [4, 1] use_bn: true activation: "dice"',
    "plain": "hidden_units: [5, 1] use_bn: false",
    "linear": "hidden_units: [1] use_bn: true",
}
LENGTHS = {"mixed": [3, 0, 1, 7, 2, 0], "equal": [2, 2, 2], "one": [4]}


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("config", CONFIGS)
def test_numbers_are_those_of_padded_histories(config: str, lengths: str, training: bool, impl: str) -> None:
    case = make(CONFIGS[config], LENGTHS[lengths])
    compare(case, len(dnn(CONFIGS[config]).hidden_units), training, impl)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("query_width", "key"),
    [
        (WIDTH, KeyOptions(kept=False)),
        (WIDTH, KeyOptions(transformed=True, by_layers=True)),
        (WIDTH - 1, KeyOptions(transformed=True)),
        (WIDTH - 1, KeyOptions(transformed=True, by_layers=True)),
        (WIDTH + 2, KeyOptions(kept=False, transformed=True)),
    ],
)
def test_keys_of_any_width(query_width: int, key: KeyOptions, training: bool) -> None:
    """Padded with zeros, or both sides through a layer, whose bias the padding then contains."""
    case = make(CONFIGS["norm"], LENGTHS["mixed"], 0, query_width, key)
    by_layers = query_width > WIDTH or (query_width < WIDTH and key.by_layers)
    assert by_layers == any(name.startswith("sequence_") for name in case.store.variables_by_name)
    assert case.layer.outputs == WIDTH * (1 + key.kept) + EXTRA
    compare(case, 3, training, "tensorflow", key.kept)


def compare(case: Case, layers: int, training: bool, impl: str, kept: bool = True) -> None:
    """Outputs, gradients and batch statistics, compared with those of padded histories."""
    q, history, (auxiliary,) = case.inputs
    sources = {"query": q, "history": history.values, "auxiliary": auxiliary.values}
    sources |= {n: v for n, v in case.store.variables_by_name.items() if "moving" not in n}
    run = ForwardContext(training, impl=impl)
    values, padded = case.values, None
    with tf.GradientTape() as tape, tf.GradientTape() as double:
        tape.watch([*sources.values()])
        double.watch([*values.values()])
        found = case.layer(case.inputs, run)
        padded = Padded(values, case.lengths, training)
        expected = padded(layers, kept)
        upstream = np.random.default_rng(5).normal(size=expected.shape)
        totals = tf.reduce_sum(found * tf.cast(upstream, tf.float32)), tf.reduce_sum(expected * upstream)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    gradients = tape.gradient(totals[0], sources), double.gradient(totals[1], values)
    for name, ours in gradients[0].items():
        theirs = gradients[1][name]
        np.testing.assert_allclose(
            tf.convert_to_tensor(ours), tf.convert_to_tensor(theirs), rtol=2e-3, atol=2e-4, err_msg=name
        )
    assert len(run.updates) == len(padded.statistics)
    for update in run.updates:
        (name,) = (n for n, v in case.store.variables_by_name.items() if v is update.variable)
        np.testing.assert_allclose(update.value, padded.statistics[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_no_history_is_zeros(lengths: list[int], training: bool) -> None:
    case = make(CONFIGS["norm_and_dice"], lengths)
    with tf.GradientTape() as tape:
        found = case.layer(case.inputs, ForwardContext(training))
    assert not found.numpy()[:, : WIDTH + EXTRA].any()
    np.testing.assert_array_equal(found[:, WIDTH + EXTRA :], case.inputs.query)
    gradients = tape.gradient(found, case.store.dense_trainable)
    assert all(np.isfinite(g).all() for g in gradients if g is not None)


def test_padding_that_no_norm_sees_is_left_out() -> None:
    """Only a norm in training gets more rows than there are elements."""
    rows: list[int] = []

    def counted(config: str, training: bool) -> int:
        case = make(config, LENGTHS["mixed"])
        inner = case.layer._dnn
        case.layer._dnn = lambda x, run, weights=None: (rows.append(x.shape[0]), inner(x, run, weights))[1]
        case.layer._dnn.normalises = inner.normalises
        case.layer(case.inputs, ForwardContext(training))
        return rows[-1]

    elements, batch = sum(LENGTHS["mixed"]), len(LENGTHS["mixed"])
    assert counted(CONFIGS["norm"], True) == elements + batch
    assert counted(CONFIGS["norm"], False) == elements
    assert counted(CONFIGS["plain"], True) == elements


@pytest.mark.parametrize(
    ("config", "widths", "message"),
    [
        ("hidden_units: [4, 1]", AttentionWidths(3, 4), "keys have 3 columns and the histories 4"),
        ("hidden_units: [4, 2]", AttentionWidths(3, 3), "must be 1"),
    ],
)
def test_refused(config: str, widths: AttentionWidths, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TargetAttention(VariableStore(seed=1), "din_dnn", dnn(config), widths, 0.0)
