"""MultiTowerBST against EasyRec's formula on padded histories."""

from __future__ import annotations

import numpy as np
from models import histories
from models.histories import padded, rows_of, softmax
from models.oracle import L2, Oracle, check_gradients, check_logits, check_penalties

#: Longer and shorter than the longest history, which has 5 elements.
PLACES = {"long": 8, "short": 3}
WIDTH, HEADS = 8, 3
CONFIG = f"""model_class: "MultiTowerBST"
  feature_groups {{ group_name: "user" wide_deep: DEEP feature_names: "u" }}
  seq_att_groups {{ group_name: "long" seq_att_map {{ key: ["i", "c"] hist_seq: ["h", "k"] }} }}
  seq_att_groups {{ group_name: "short" seq_att_map {{ key: ["i", "c"] hist_seq: ["h", "k"] }} }}
  multi_tower {{ towers {{ input: "user" dnn {{ hidden_units: [3] }} }}
    bst_towers {{ input: "long" seq_len: {PLACES["long"]} multi_head_size: {HEADS} }}
    bst_towers {{ input: "short" seq_len: {PLACES["short"]} multi_head_size: {HEADS} }}
    final_dnn {{ hidden_units: [4] }} l2_regularization: {L2} }}"""


def _norm(oracle: Oracle, number: int, x: np.ndarray) -> np.ndarray:
    name = f"layer_normalization_{number}" if number else "layer_normalization"
    mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    scaled = (x - mean) / np.sqrt(variance + 1e-6)
    return scaled * oracle.get(f"{name}/layer_norm_scale") + oracle.get(f"{name}/layer_norm_bias")


def _tower(oracle: Oracle, group: str, number: int) -> np.ndarray:
    places = PLACES[group]
    names = ["h", "k"]
    h = padded(oracle, names, [f"{group}/{n}_embedding" for n in names])
    keys = np.concatenate([rows_of(oracle, n, f"{group}/{n}_embedding") for n in ("i", "c")], axis=1)
    # EasyRec's penalty has the keys twice.
    oracle.squared += float(np.sum(keys**2))
    h = np.pad(h, [(0, 0), (0, max(0, places - 1 - h.shape[1])), (0, 0)])[:, : places - 1]
    x = np.concatenate([h, keys[:, None]], axis=1)
    seen = np.arange(places - 1) < histories.lengths()[:, None]
    seen = np.concatenate([seen, np.ones([len(h), 1], bool)], axis=1)
    heads = []
    for start in (0, 3, 6):
        own = x[..., start : start + 3]
        q, k, v = (
            oracle.dense(f"multi_head_{start}_{part}/multi_head_{start}_{part}_0", own)
            for part in ("query", "key", "value")
        )
        scores = np.where(seen[:, None, :], np.einsum("bsd,btd->bst", q, k), -(2.0**32))
        heads.append(np.einsum("bst,btd->bsd", softmax(scores), v))
    attended = oracle.dense("multi_head_attention/multi_head_attention_0", np.concatenate(heads, axis=2))
    x = _norm(oracle, 2 * number, x + attended)
    x = _norm(oracle, 2 * number + 1, x + oracle.dense("feed_forward_net/feed_forward_net_0", x))
    return x.reshape(len(x), -1)


def _formula(oracle: Oracle) -> np.ndarray:
    user = oracle.batch_norm("user_fea_bn", rows_of(oracle, "u", "input_layer/u_embedding"))
    towers = [oracle.dnn("user_dnn", user, 1, norm=True)]
    towers += [_tower(oracle, group, i) for i, group in enumerate(PLACES)]
    return oracle.dense("output", oracle.dnn("final_dnn", np.concatenate(towers, axis=1), 1, norm=True))


def test_formula() -> None:
    built = histories.build(CONFIG)
    check_logits(built, _formula)
    check_penalties(built, _formula, {"user_dnn/dnn_0", "final_dnn/dnn_0"})


def test_gradients() -> None:
    # A softmax doesn't change where all scores of a place move together.
    keys = {f"multi_head_{start}_key/multi_head_{start}_key_0/bias" for start in (0, 3, 6)}
    # And a batch norm takes a shift before it away.
    shifts = {"user_fea_bn/beta", *(f"layer_normalization_{i}/layer_norm_bias" for i in (1, 3))}
    check_gradients(histories.build(CONFIG), cancelled=keys | shifts)


def test_it_is_served_as_it_is_trained() -> None:
    built = histories.build(CONFIG)
    expected = built.predicted()
    for name, values in built.served().items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-6)
