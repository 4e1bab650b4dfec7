"""DotInteraction, BiLinear, SENet, FiBiNet and CIN against float64 references."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from layers.making import Made, near, numbers, relu


@pytest.mark.parametrize("itself", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_dot_interaction(itself: bool, whole: bool) -> None:
    x = numbers(1, 5, 4, 3)
    products = np.einsum("bid,bjd->bij", x, x)
    kept = np.tril(np.ones((4, 4)), 0 if itself else -1) > 0
    expected = np.where(kept, products, 0.0).reshape(5, 16) if whole else products[:, kept]
    made = Made("DotInteraction", (4, 3), self_interaction=itself, skip_gather=whole)
    near(made.eval(x), expected)
    listed = Made("DotInteraction", [3] * 4, self_interaction=itself, skip_gather=whole)
    near(listed.eval([x[:, i] for i in range(4)]), expected)


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("kind", ["all", "each", "interaction"])
def test_bilinear(kind: str, plus: bool) -> None:
    made = Made("BiLinear", [3, 3, 3], type=kind, use_plus=plus, num_output_units=2)
    made.shake()
    x = [numbers(i, 6, 3) for i in range(3)]
    products = []
    for i, j in itertools.combinations(range(3), 2):
        name = {"all": "all", "each": f"each_{i}", "interaction": f"interaction_{i}_{j}"}[kind]
        product = made.dense(name, x[i]) * x[j]
        products.append(product.sum(1, keepdims=True) if plus else product)
    near(made.eval(x), made.dense("output", np.concatenate(products, 1)))


def test_bilinear_interaction_takes_any_widths() -> None:
    made = Made("BiLinear", [2, 3, 4], num_output_units=2, use_plus=False)
    made.shake()
    x = [numbers(i, 6, 2 + i) for i in range(3)]
    products = [
        made.dense(f"interaction_{i}_{j}", x[i]) * x[j] for i, j in itertools.combinations(range(3), 2)
    ]
    near(made.eval(x), made.dense("output", np.concatenate(products, 1)))


def _senet(made: Made, prefix: str, x: list[np.ndarray], skip: bool, norm: bool) -> np.ndarray:
    squeezed = []
    for part in x:
        groups = part.reshape(len(part), 2, -1)
        squeezed += [groups.max(2), groups.mean(2)]
    weights = made.dense(f"{prefix}W2", relu(made.dense(f"{prefix}W1", np.concatenate(squeezed, 1))))
    flat = np.concatenate(x, 1)
    out = flat * weights + (flat if skip else 0.0)
    return made.layer_norm(f"{prefix}output_ln", out) if norm else out


@pytest.mark.parametrize(("skip", "norm"), [(False, False), (True, True), (False, True)])
def test_senet(skip: bool, norm: bool) -> None:
    made = Made("SENet", [4, 2, 6], reduction_ratio=3, use_skip_connection=skip, use_output_layer_norm=norm)
    made.shake()
    assert made.value("W1/kernel").shape == (12, 4)
    x = [numbers(i, 5, width) for i, width in enumerate((4, 2, 6))]
    near(made.eval(x), _senet(made, "", x, skip, norm))


def test_fibinet_is_senet_beside_bilinear() -> None:
    made = Made(
        "FiBiNet",
        [4, 4, 4],
        l2=0.1,
        senet={"reduction_ratio": 4},
        bilinear={"type": "each", "num_output_units": 3},
        mlp={"hidden_units": [5], "final_activation": "relu"},
    )
    made.shake()
    assert "block/mlp/layer_0/dense/kernel" in made.names
    assert [r.variable.name for r in made.store.regularized] == [
        "backbone/block/block/mlp/layer_0/dense/kernel:0"
    ]
    x = [numbers(i, 6, 4) for i in range(3)]
    pairs = itertools.combinations(range(3), 2)
    dots = [(made.dense(f"block/bilinear/each_{i}", x[i]) * x[j]).sum(1, keepdims=True) for i, j in pairs]
    both = [
        _senet(made, "block/senet/", x, True, True),
        made.dense("block/bilinear/output", np.concatenate(dots, 1)),
    ]
    hidden = made.dense("block/mlp/layer_0/dense", np.concatenate(both, 1), bias=False)
    near(made.eval(x), relu(made.batch_norm("block/mlp/layer_0/bn", hidden)))
    found, _ = made.train(x)
    near(found, relu(made.batch_norm("block/mlp/layer_0/bn", hidden, training=True)), rtol=1e-3, atol=1e-4)


def test_cin() -> None:
    made = Made("CIN", (4, 3), hidden_feature_sizes=[5, 2])
    made.shake()
    # A variable scope of the block's own, as EasyRec's.
    assert made.names == ["block/cin_bias_0", "block/cin_bias_1", "block/cin_kernel_0", "block/cin_kernel_1"]
    x0 = x = numbers(3, 6, 4, 3)
    sums = []
    for k in range(2):
        maps = np.einsum("hij,bid,bjd->bhd", made.value(f"block/cin_kernel_{k}"), x, x0)
        x = relu(maps + made.value(f"block/cin_bias_{k}")[:, None])
        sums.append(x.sum(2))
    near(made.eval(x0), np.concatenate(sums, 1))
