"""Layers that configs name: their specs, the two forms of their parameters, and their formulas."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor

from hvdrec.config.checks.layers import check_keras_layer
from hvdrec.config.config import Config
from hvdrec.config.layers.registry import SPECS
from hvdrec.config.layers.spec import INITIALIZERS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.names import is_repeated
from hvdrec.config.protos import keras_layer_pb2
from hvdrec.config.report import Report
from hvdrec.errors import ConfigError
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.registry import BUILDERS, build_layer
from hvdrec.layers.variables import VariableStore

EVAL = ForwardContext(training=False)
FORMS = {f.name: f for f in keras_layer_pb2.KerasLayer.DESCRIPTOR.oneofs_by_name["params"].fields}
KINDS = {
    int: (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32),
    float: (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE),
    bool: (FieldDescriptor.CPPTYPE_BOOL,),
    str: (FieldDescriptor.CPPTYPE_STRING,),
}
RNG = np.random.default_rng(7)


def message(text: str) -> Any:
    return text_format.Parse(text, keras_layer_pb2.KerasLayer())


def struct(class_name: str, **values: Any) -> Any:
    made = keras_layer_pb2.KerasLayer(class_name=class_name)
    made.st_params.update(values)
    return made


def build(layer: Any, inputs: Widths, l2: float = 0.0) -> tuple[Layer, VariableStore]:
    config, problems = SPECS[layer.class_name].read(layer)
    assert not [p for p in problems if not p.warning]
    store = VariableStore(seed=3)
    built = build_layer(layer.class_name, LayerBuild(store, "block", config, inputs, l2))
    assert built.outputs == SPECS[layer.class_name].outputs(config, inputs)
    return built, store


def errors(layer: Any) -> str:
    report = Report(Config(None, "p.config"))
    assert check_keras_layer(report, layer, "backbone.blocks[0].keras_layer") is None
    with pytest.raises(ConfigError) as caught:
        report.close()
    return str(caught.value)


def test_every_layer_has_its_spec_and_the_other_way_round() -> None:
    assert set(BUILDERS) == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_has_every_field_of_its_message(name: str) -> None:
    spec = SPECS[name]
    if spec.field is None:
        assert not spec.unread
        return
    met = _compare(FORMS[spec.field].message_type, spec.parameters, spec.unread)
    assert met == set(spec.unread)


def _compare(message: Any, parameters: tuple[Parameter, ...], unread: tuple[str, ...]) -> set[str]:
    """Compares parameters with a message's fields, recursively; returns the fields that aren't read."""
    fields = message.fields_by_name
    met = set(fields) - {p.name for p in parameters}
    assert met <= set(unread)
    assert {p.name for p in parameters} <= set(fields)
    for parameter in parameters:
        field = fields[parameter.name]
        assert parameter.repeated == is_repeated(field)
        if isinstance(parameter.kind, tuple):
            met |= _compare(field.message_type, parameter.kind, unread)
        else:
            assert field.cpp_type in KINDS[parameter.kind]
    return met


@pytest.mark.parametrize("name", SPECS)
def test_a_layer_reads_exactly_the_parameters_of_its_spec(name: str) -> None:
    module = inspect.getmodule(BUILDERS[name])
    assert module is not None
    read = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("config", "build.config")
    }
    assert read == {p.name for p in SPECS[name].parameters}


def test_every_initializer_of_the_specs_is_there() -> None:
    for name in INITIALIZERS:
        assert initializers.named(name)((6, 4), np.random.default_rng(1)).shape == (6, 4)


def test_both_forms_give_the_same_parameters() -> None:
    text = (
        "class_name: 'MLP' mlp { hidden_units: [4, 2] dropout_ratio: 0.5 use_bn: false final_activation: '' }"
    )
    one, _ = SPECS["MLP"].read(message(text))
    two, _ = SPECS["MLP"].read(struct("MLP", hidden_units=[4, 2], dropout_ratio=[0.5], use_bn=False))
    assert vars(one) == vars(two)
    assert vars(one)["hidden_units"] == (4, 2)


def test_texts_have_the_messages_default_and_the_rest_the_layers() -> None:
    # EasyRec's Parameter.get_or_default: the last activation is ReLU by message, none by structure.
    written, _ = SPECS["MLP"].read(message("class_name: 'MLP' mlp { hidden_units: 4 }"))
    assert written.final_activation == "relu"
    free, _ = SPECS["MLP"].read(struct("MLP", hidden_units=[4]))
    assert free.final_activation == ""
    assert (written.use_bias, free.use_bias) == (False, False)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (struct("MPL"), "keras_layer.class_name: there is no layer 'MPL'; did you mean MLP?"),
        (struct("MLP"), "keras_layer.st_params: hidden_units is missing"),
        (struct("MLP", hidden_units=4), "st_params.hidden_units: must be a list"),
        (struct("MLP", hidden_units=[4, 2.5]), "st_params.hidden_units: must be a whole number"),
        (struct("MLP", hidden_units=[0]), "st_params.hidden_units[0]: must be at least 1, is 0"),
        (struct("MLP", hidden_units=[4], dropout_ratio=[0, 0]), "has 2 rates for 1 layers"),
        (struct("MLP", hidden_units=[4], use_bn="no"), "st_params.use_bn: must be true or false"),
        (
            struct("MLP", hidden_units=[4], use_bm=1),
            "use_bm: is not a supported parameter; did you mean use_bn",
        ),
        (struct("Cross", preactivation="reul"), "st_params.preactivation: must be one of relu, "),
        (struct("Cross", diag_scale=-1), "st_params.diag_scale: must be at least 0, is -1"),
        (struct("Dense", units=float("inf")), "units: must be a whole number"),
        (struct("BatchNormalization", momentum=float("nan")), "momentum: must be a finite number, is nan"),
        (
            message("class_name: 'FM' mlp { hidden_units: 4 }"),
            "keras_layer.mlp: FM takes fm {} or st_params {}",
        ),
        (
            message("class_name: 'MLP' mlp { hidden_units: 4 initializer: 'x' }"),
            "mlp.initializer: must be one of zeros",
        ),
        (
            message("class_name: 'Highway' highway { emb_size: 0 }"),
            "highway.emb_size: must be at least 1, is 0",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path(layer: Any, said: str) -> None:
    assert said in errors(layer)


def test_what_has_no_effect_is_warned_of() -> None:
    report = Report(Config(None, "p.config"))
    assert (
        check_keras_layer(report, message("class_name: 'FM' fm { l2_regularization: 0.1 }"), "k") is not None
    )
    assert report.close() == ["p.config: k.fm.l2_regularization: has no effect, as in EasyRec"]


def test_layers_within_layers() -> None:
    inner = (Parameter("width", int, required=True), Parameter("rate", float, default=0.5))
    parts = Parameter("parts", inner, repeated=True, default=())
    spec = LayerSpec("Two", None, (parts,), outputs=lambda config, inputs: inputs, formula="")
    config, problems = spec.read(struct("Two", parts=[{"width": 3}, {"width": 4, "rate": 1}]))
    assert not problems
    assert [(p.width, p.rate) for p in config.parts] == [(3, 0.5), (4, 1.0)]
    _, problems = spec.read(struct("Two", parts=[{"width": 3}, {"widht": 4}]))
    assert [p.path for p in problems] == ["st_params.parts[1].widht", "st_params.parts[1]"]


def _norm(x: np.ndarray) -> np.ndarray:
    """Batch norm with its first moving averages."""
    return x / np.sqrt(1.0 + 1e-3)


def test_mlp() -> None:
    layer, store = build(
        struct("MLP", hidden_units=[5, 3], use_final_bn=False, use_final_bias=True), 4, l2=0.1
    )
    names = store.variables_by_name
    assert sorted(names) == sorted(
        [f"block/layer_0/bn/{v}" for v in ("beta", "gamma", "moving_mean", "moving_variance")]
        + ["block/layer_0/dense/kernel", "block/layer_1/dense/bias", "block/layer_1/dense/kernel"]
    )
    assert [
        r.variable is names[f"block/layer_{i}/dense/kernel"] for i, r in enumerate(store.regularized)
    ] == [True] * 2
    names["block/layer_1/dense/bias"].assign([1.0, 2.0, 3.0])
    x = RNG.normal(size=(6, 4)).astype(np.float32)
    hidden = np.maximum(_norm(x @ names["block/layer_0/dense/kernel"].numpy()), 0.0)
    expected = hidden @ names["block/layer_1/dense/kernel"].numpy() + [1.0, 2.0, 3.0]
    assert layer.outputs == 3
    np.testing.assert_allclose(layer(tf.constant(x), EVAL), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("impl", ["tensorflow", "native"])
@pytest.mark.parametrize("last", [False, True])
def test_mlp_trains_as_the_formula(last: bool, impl: str) -> None:
    layer, store = build(
        struct("MLP", hidden_units=[3], final_activation="relu", use_bn_after_activation=last), 4
    )
    x = RNG.normal(size=(8, 4)).astype(np.float32)
    run = ForwardContext(training=True, impl=impl)
    linear = x.astype(np.float64) @ store.variables_by_name["block/layer_0/dense/kernel"].numpy()
    before = np.maximum(linear, 0.0) if last else linear
    normal = (before - before.mean(0)) / np.sqrt(before.var(0) + 1e-3)
    expected = normal if last else np.maximum(normal, 0.0)
    np.testing.assert_allclose(layer(tf.constant(x), run), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.updates[0].value, before.mean(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rank", [None, 2])
def test_cross(rank: int | None) -> None:
    low = {} if rank is None else {"projection_dim": rank}
    layer, store = build(struct("Cross", diag_scale=0.5, preactivation="tanh", **low), [4, 4])
    names = store.variables_by_name
    product = names["block/dense/kernel"].numpy()
    if rank is not None:
        assert "block/dense/bias" not in names
        product = product @ names["block/dense_1/kernel"].numpy()
    names[f"block/dense{'' if rank is None else '_1'}/bias"].assign([1.0, 0.0, -1.0, 0.5])
    x0, x = RNG.normal(size=(2, 5, 4)).astype(np.float32)
    expected = x0 * (np.tanh(x @ product + [1.0, 0.0, -1.0, 0.5]) + 0.5 * x) + x
    np.testing.assert_allclose(layer([tf.constant(x0), tf.constant(x)], EVAL), expected, rtol=1e-4, atol=1e-6)
    alone = x * (np.tanh(x @ product + [1.0, 0.0, -1.0, 0.5]) + 0.5 * x) + x
    np.testing.assert_allclose(layer(tf.constant(x), EVAL), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", [False, True])
def test_fm_of_a_list_and_of_one_tensor(variant: bool) -> None:
    x = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    expected = sum(x[:, i] * x[:, j] for i in range(4) for j in range(i))
    expected = expected if variant else expected.sum(1, keepdims=True)
    listed, _ = build(struct("FM", use_variant=variant), [5] * 4)
    stacked, _ = build(struct("FM", use_variant=variant), (4, 5))
    assert listed.outputs == stacked.outputs == (5 if variant else 1)
    np.testing.assert_allclose(
        listed([tf.constant(x[:, i]) for i in range(4)], EVAL), expected, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(stacked(tf.constant(x), EVAL), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [3, 4])
def test_highway(width: int) -> None:
    layer, store = build(struct("Highway", emb_size=width, num_layers=2, activation="tanh"), 4)
    names = {n: v.numpy() for n, v in store.variables_by_name.items()}
    assert ("block/input_projection/kernel" in names) == (width != 4)
    assert set(names["block/gate_1/bias"]) == {-3.0}
    x = first = RNG.normal(size=(5, 4)).astype(np.float32)
    if width != 4:
        x = x @ names["block/input_projection/kernel"]
    for gate, transform in (("gate_0", "dense"), ("gate_1", "dense_1")):
        t = 1.0 / (1.0 + np.exp(3.0 - x @ names[f"block/{gate}/kernel"]))
        x = np.tanh(x @ names[f"block/{transform}/kernel"]) * t + x * (1.0 - t)
    np.testing.assert_allclose(layer(tf.constant(first), EVAL), x, rtol=1e-4, atol=1e-5)


def test_keras_layers() -> None:
    x = RNG.normal(size=(5, 4)).astype(np.float32)
    dense, store = build(struct("Dense", units=2, activation="relu", bias_initializer="ones"), 4)
    kernel = store.variables_by_name["block/kernel"].numpy()
    np.testing.assert_allclose(
        dense(tf.constant(x), EVAL), np.maximum(x @ kernel + 1.0, 0.0), rtol=1e-4, atol=1e-6
    )
    norm, store = build(struct("BatchNormalization", momentum=0.5, epsilon=0.1, scale=False), 4)
    assert "block/gamma" not in store.variables_by_name
    run = ForwardContext(training=True)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 0.1)
    np.testing.assert_allclose(norm(tf.constant(x), run), expected, rtol=1e-4, atol=1e-5)
    assert {u.momentum for u in run.updates} == {0.5}


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (struct("MLP", hidden_units=[2]), [3, 4]),
        (struct("MLP", hidden_units=[2]), (3, None)),
        (struct("Cross"), [4, 5]),
        (struct("Cross"), []),
        (struct("FM"), [4, 5]),
        (struct("FM"), 4),
        (struct("FM"), []),
        (struct("Highway"), [4]),
        (struct("Dense", units=2), [4, 4]),
        (struct("BatchNormalization"), [4]),
    ],
)
def test_inputs_that_do_not_fit_are_refused(layer: Any, inputs: Widths) -> None:
    with pytest.raises(ConfigError, match=r"layer block: .*found"):
        build(layer, inputs)


def test_a_parameter_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no parameter x"):
        LayerConfig({"y": 1}).x  # noqa: B018
