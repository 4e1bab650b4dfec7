"""MMoE and AITMTower against float64 references."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from layers.making import Made, near, numbers, relu, softmax

from hvdrec.layers.context import ForwardContext


def test_mmoe_with_experts_of_its_own() -> None:
    made = Made(
        "MMoE",
        4,
        l2=0.1,
        num_task=2,
        num_expert=3,
        expert_mlp={"hidden_units": [5], "final_activation": "relu"},
    )
    made.shake()
    x = numbers(1, 6, 4)
    for training in (False, True):
        experts = [
            relu(
                made.batch_norm(
                    f"expert_{i}/layer_0/bn", made.dense(f"expert_{i}/layer_0/dense", x, False), training
                )
            )
            for i in range(3)
        ]
        stacked = np.stack(experts, 1)
        expected = [
            np.einsum("be,bed->bd", softmax(made.dense(f"gate_{task}", x)), stacked) for task in range(2)
        ]
        found = made.train(x)[0] if training else made.eval(x)
        near(found, expected, rtol=1e-3, atol=1e-4)
    assert {r.variable.name.split("block/")[1] for r in made.store.regularized} == {
        *(f"expert_{i}/layer_0/dense/kernel:0" for i in range(3)),
        *(f"gate_{task}/kernel:0" for task in range(2)),
    }


def test_mmoe_over_given_experts() -> None:
    made = Made("MMoE", [4, 4, 3], num_task=2, num_expert=2)
    made.shake()
    a, b, x = numbers(1, 6, 4), numbers(2, 6, 4), numbers(3, 6, 3)
    expected = []
    for task in range(2):
        gate = softmax(made.dense(f"gate_{task}", x))
        expected.append(gate[:, :1] * a + gate[:, 1:] * b)
    near(made.eval([a, b, x]), expected)


@pytest.mark.parametrize("dim", [None, 6])
def test_aitm_tower(dim: int | None) -> None:
    given = {} if dim is None else {"project_dim": dim}
    made = Made("AITMTower", [4, 3, 3], transfer_mlp={"hidden_units": [5]}, **given)
    made.shake()
    own, *others = (numbers(i, 6, width) for i, width in enumerate((4, 3, 3)))
    towers = [own]
    for other in others:
        towers.append(
            made.batch_norm("transfer/layer_0/bn", made.dense("transfer/layer_0/dense", other, bias=False))
        )
    q = made.dense("query_0", own)
    k = np.stack([made.dense(f"key_{i}", x) for i, x in enumerate(towers)], 1)
    v = np.stack([made.dense(f"value_{i}", x) for i, x in enumerate(towers)], 1)
    shares = softmax(np.einsum("bd,btd->bt", q, k) / np.sqrt(dim or 4))
    near(made.eval([own, *others]), np.einsum("bt,btd->bd", shares, v))
    assert "query_2/kernel" in made.names


def test_aitm_tower_alone() -> None:
    made = Made("AITMTower", 4)
    x = numbers(1, 3, 4)
    near(made.eval(x), x)
    assert made.names == []


@pytest.mark.parametrize("stop", [True, False])
def test_aitm_gradient_to_the_others(stop: bool) -> None:
    made = Made("AITMTower", [4, 4], stop_gradient=stop)
    made.shake()
    own, other = (tf.constant(numbers(i, 5, 4), tf.float32) for i in range(2))
    with tf.GradientTape() as tape:
        tape.watch([own, other])
        y = made.layer([own, other], ForwardContext(training=True))
    found = tape.gradient(y, [own, other])
    assert (found[1] is None) == stop
    assert found[0] is not None
