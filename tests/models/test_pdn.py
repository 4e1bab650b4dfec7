"""PDN against its formula on padded histories."""

from __future__ import annotations

import numpy as np
import pytest
from models import histories
from models.histories import over_places, padded, rows_of, there
from models.oracle import L2, Oracle, check_gradients, check_penalties

GROUPS = """feature_groups { group_name: "user" wide_deep: DEEP feature_names: ["u"] }
  feature_groups { group_name: "item" wide_deep: DEEP feature_names: ["i", "c"] }
  feature_groups { group_name: "bias" wide_deep: DEEP feature_names: ["c"] }
  feature_groups { group_name: "u2i_seq" feature_names: ["r"] }
  feature_groups { group_name: "i_seq" feature_names: ["h"] }
  feature_groups { group_name: "i2i_seq" feature_names: ["k"] }"""
#: Every network has two layers, the first with batch norm.
NETWORKS = {
    **{f"{name}_dnn": 4 for name in ("user", "item", "u2i", "i2i")},
    **{f"{name}_dnn": 1 for name in ("trigger", "sim", "bias")},
    **{f"direct_{name}_dnn": 3 for name in ("user", "item")},
}
#: Those whose last layer is linear.
LINEAR = {name for name, width in NETWORKS.items() if width != 4}


def _config(networks: set[str], extra: str = "") -> str:
    blocks = " ".join(f"{name} {{ hidden_units: [3, {NETWORKS[name]}] }}" for name in sorted(networks))
    return f'model_class: "PDN" {GROUPS} pdn {{ {blocks} l2_regularization: {L2} {extra} }}'


def _dnn(oracle: Oracle, name: str, x: np.ndarray) -> np.ndarray:
    flat = x[None] if x.ndim == 2 else x
    found = over_places(oracle, name, flat, 1 if name in LINEAR else 2)
    if name in LINEAR:
        found = oracle.dense(f"{name}/dnn_1", found)
    return found[0] if x.ndim == 2 else found


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(x))


def _paths(oracle: Oracle, cross_twice: bool) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Trigger and similarity of each place, and the rows that the networks start from."""
    user = rows_of(oracle, "u", "input_layer/u_embedding")
    item = np.concatenate([rows_of(oracle, n, f"input_layer_1/{n}_embedding") for n in ("i", "c")], axis=1)
    r, h, k = (
        padded(oracle, [n], [f"input_layer/{t}"]) for n, t in (("r", "r_bucketized"), ("h", "h"), ("k", "k"))
    )
    cares = _dnn(oracle, "u2i_dnn", np.concatenate([r, h], axis=2)) + _dnn(oracle, "user_dnn", user)[:, None]
    side, target = _dnn(oracle, "i2i_dnn", h), _dnn(oracle, "item_dnn", item)[:, None]
    target = np.broadcast_to(target, side.shape)
    crossed = side * target
    x = np.concatenate([crossed if cross_twice else side, crossed, k, target], axis=2)
    trigger, similar = _dnn(oracle, "trigger_dnn", cares), _dnn(oracle, "sim_dnn", x)
    return np.exp(trigger[..., 0]), np.exp(similar[..., 0]), {"user": user, "item": item}


def _sum(oracle: Oracle, networks: set[str], cross_twice: bool, unit: bool) -> np.ndarray:
    trigger, similar, rows = _paths(oracle, cross_twice)
    total = np.sum(trigger * similar * there(), axis=1)
    if "direct_user_dnn" in networks:
        both = [_dnn(oracle, f"direct_{name}_dnn", rows[name]) for name in ("user", "item")]
        if unit:
            both = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in both]
        score = np.sum(both[0] * both[1], axis=1)
        if unit:
            score = score * np.abs(oracle.get("direct_net/sim_w")) + oracle.get("direct_net/sim_b")
        total = total + _softplus(score)
    if "bias_dnn" in networks:
        total = (
            total
            + _softplus(_dnn(oracle, "bias_dnn", rows_of(oracle, "c", "input_layer_2/c_embedding")))[:, 0]
        )
    return total


ALL = set(NETWORKS)
FEW = ALL - {"bias_dnn", "direct_user_dnn", "direct_item_dnn"}
CASES = {
    "all": (ALL, "", False, True),
    "inner_product": (ALL - {"bias_dnn"}, "simi_func: INNER_PRODUCT scale_simi: false", False, False),
    "easyrec": (FEW, "easyrec_similarity: true", True, False),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    networks, extra, cross_twice, unit = CASES[case]
    built = histories.build(_config(networks, extra))
    values = built.values()
    for training in (False, True):
        oracle = Oracle(values, training)
        total = _sum(oracle, networks, cross_twice, unit)
        outputs = built.run(training).outputs
        np.testing.assert_allclose(outputs["probs"][:, 0], 1.0 - np.exp(-total), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            outputs["logits"][:, 0],
            np.log(np.clip(1.0 - np.exp(-total), 1e-8, 1 - 1e-8)),
            rtol=1e-4,
            atol=1e-6,
        )
        # The group of a bias that there isn't is built all the same.
        assert set(values) - oracle.used <= {"input_layer_2/c_embedding/embedding_weights"}
    if case == "all":
        kernels = {f"{name}/dnn_{i}" for name in networks for i in range(2)}
        check_penalties(built, lambda oracle: _sum(oracle, networks, cross_twice, unit), kernels)
        check_gradients(built)


def test_predictions_and_what_is_served() -> None:
    """The numbers of each place as text, those of padded places too, as EasyRec shows them."""
    built = histories.build(_config(ALL))
    trigger, similar, _ = _paths(Oracle(built.values()), False)
    found, served = built.predicted(), built.served()
    assert set(found) == {
        "probs",
        "logits",
        "trigger_out",
        "sim_out",
        "direct_user_embedding",
        "direct_item_embedding",
    }
    for name, expected in (("trigger_out", trigger), ("sim_out", similar)):
        numbers = [[float(x) for x in text.decode().split(";")] for text in found[name]]
        np.testing.assert_allclose(numbers, expected, rtol=1e-3)
    for name, values in found.items():
        if values.dtype == object:
            assert served[name].tolist() == values.tolist()
        else:
            np.testing.assert_allclose(served[name], values, rtol=1e-5, atol=1e-6)
