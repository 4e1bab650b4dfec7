"""Gate, MaskBlock, MaskNet and PPNet against float64 references."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from layers.making import Made, near, numbers, relu, sigmoid

from hvdrec.layers.context import ForwardContext


@pytest.mark.parametrize("index", [0, 2])
def test_gate(index: int) -> None:
    widths = [4, 4, 4]
    widths[index] = 3
    made = Made("Gate", list(widths), weight_index=index)
    x = [numbers(i, 5, width) for i, width in enumerate(widths)]
    others = [each for i, each in enumerate(x) if i != index]
    # More weights than tensors: the last ones have nothing to weigh.
    expected = sum(x[index][:, j, None] * other for j, other in enumerate(others))
    near(made.eval(x), expected)


def _mask_block(made: Made, prefix: str, x: np.ndarray, m: np.ndarray, **has: bool) -> np.ndarray:
    if has.get("norm"):
        x = made.layer_norm(f"{prefix}input_ln", x)
    if has.get("project"):
        m = made.dense(f"{prefix}project", m, bias=False)
    masked = x * made.dense(f"{prefix}weights", relu(made.dense(f"{prefix}aggregation", m)))
    if has.get("bare"):
        return masked
    hidden = made.dense(f"{prefix}output", masked, bias=False)
    return relu(made.layer_norm(f"{prefix}output_ln", hidden))


def test_mask_block() -> None:
    made = Made("MaskBlock", [4, 6], l2=0.2, aggregation_size=5, output_size=3)
    made.shake()
    x, m = numbers(1, 7, 4), numbers(2, 7, 6)
    near(made.eval([x, m]), _mask_block(made, "", x, m))
    assert [r.variable.name for r in made.store.regularized] == ["backbone/block/aggregation/kernel:0"]


def test_mask_block_with_everything_else() -> None:
    made = Made("MaskBlock", 6, reduction_factor=0.5, input_layer_norm=True, projection_dim=2)
    made.shake()
    assert made.value("aggregation/kernel").shape == (2, 3)
    x = numbers(1, 7, 6)
    near(made.eval(x), _mask_block(made, "", x, x, norm=True, project=True, bare=True))


@pytest.mark.parametrize("parallel", [False, True])
def test_mask_net(parallel: bool) -> None:
    blocks = [{"aggregation_size": 5, "output_size": 3}, {"aggregation_size": 2, "output_size": 4}]
    made = Made(
        "MaskNet",
        6,
        mask_blocks=blocks,
        use_parallel=parallel,
        mlp={"hidden_units": [2], "use_final_bn": False, "use_final_bias": True},
    )
    made.shake()
    x = made.layer_norm("input_ln", numbers(1, 7, 6))
    first = _mask_block(made, "block_0/", x, x)
    net = np.concatenate([first, _mask_block(made, "block_1/", x, x)], 1) if parallel else None
    net = _mask_block(made, "block_1/", first, x) if net is None else net
    near(made.eval(numbers(1, 7, 6)), made.dense("mlp/layer_0/dense", net))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("mode", ["lazy", "eager"])
def test_ppnet(mode: str, full: bool) -> None:
    made = Made(
        "PPNet",
        [4, 3],
        mode=mode,
        full_gate_input=full,
        mlp={"hidden_units": [5, 2], "final_activation": "tanh"},
        gate_params={"hidden_dim": 6},
    )
    made.shake()
    x, prior = numbers(1, 8, 4), numbers(2, 8, 3)
    g = np.concatenate([x, prior], 1) if full else prior

    def gate(number: int) -> np.ndarray:
        first = 1 if mode == "lazy" else 0
        dense = "dense" if number == first else "dense_1"
        return 2.0 * sigmoid(
            made.dense(f"gate_{number}/weight", relu(made.dense(f"gate_{number}/{dense}", g)))
        )

    def expected(training: bool) -> np.ndarray:
        net = x
        for i, act in enumerate((relu, np.tanh)):
            net = net * gate(i) if mode == "eager" else net
            net = made.dense(f"layer_{i}/dense", net, bias=False)
            net = act(made.batch_norm(f"layer_{i}/bn", net, training))
            net = net * gate(i + 1) if mode == "lazy" else net
        return net

    near(made.eval([x, prior]), expected(False))
    near(made.train([x, prior])[0], expected(True), rtol=1e-3, atol=1e-4)


def test_ppnet_gates_without_bias_have_a_batch_norm() -> None:
    made = Made(
        "PPNet", [4, 3], mlp={"hidden_units": [5]}, gate_params={"use_bn": True, "activation": "dice"}
    )
    made.shake()
    assert "gate_1/dice/dice_alpha" in made.names
    assert "gate_1/dense/bias" not in made.names
    x, prior = numbers(1, 8, 4), numbers(2, 8, 3)
    hidden = made.dense("gate_1/dense", np.concatenate([x, prior], 1), bias=False)
    hidden = made.batch_norm("gate_1/batch_normalization", hidden)
    scope = "gate_1/dice/batch_normalization_1"
    spread = (hidden - made.value(f"{scope}/moving_mean")) / np.sqrt(
        made.value(f"{scope}/moving_variance") + 1e-9
    )
    p = sigmoid(spread)
    hidden = hidden * (p + (1.0 - p) * made.value("gate_1/dice/dice_alpha"))
    weights = 2.0 * sigmoid(made.dense("gate_1/weight", hidden, bias=False))
    net = made.batch_norm("layer_0/bn", made.dense("layer_0/dense", x, bias=False))
    near(made.eval([x, prior]), net * weights)


def test_ppnet_gates_give_no_gradient_to_x() -> None:
    made = Made("PPNet", [3, 2], mlp={"hidden_units": [2], "use_final_bn": False})
    made.shake()
    x, prior = tf.constant(numbers(1, 4, 3), tf.float32), tf.constant(numbers(2, 4, 2), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = made.layer([x, prior], ForwardContext(training=False))
        total = tf.reduce_sum(y)
    g = np.concatenate([x, prior], 1).astype(np.float64)
    gate = 2.0 * sigmoid(made.dense("gate_1/weight", relu(made.dense("gate_1/dense", g))))
    near(tape.gradient(total, x), gate @ made.value("layer_0/dense/kernel").T)
