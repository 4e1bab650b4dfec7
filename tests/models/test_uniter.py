"""Uniter against its formula on padded texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from models import histories, transformer
from models.histories import rows_of
from models.oracle import Oracle, check_gradients

CASES: dict[str, tuple[dict[str, Sequence[str]], str]] = {
    "all": (
        {"image": ["i", "c"], "general": ["u"], "text": ["h", "t"], "other": ["u", "i"]},
        "other_feature_dnn { hidden_units: [3] }",
    ),
    "image": ({"image": ["i"]}, "use_position_embeddings: false"),
    "text": ({"text": ["h"]}, ""),
    "other": ({"other": ["c", "u"]}, ""),
}
HEADS, HIDDEN = 2, 6


def built(case: str) -> histories.Histories:
    groups, extra = CASES[case]
    written = " ".join(
        f"feature_groups {{ group_name: '{name}' wide_deep: DEEP feature_names: {list(features)} }}"
        for name, features in groups.items()
    )
    text = f"""model_class: 'Uniter' {written} uniter {{ config {{ hidden_size: {HIDDEN}
      num_hidden_layers: 2 num_attention_heads: {HEADS} intermediate_size: 5 hidden_act: 'tanh'
      hidden_dropout_prob: 0 attention_probs_dropout_prob: 0 max_position_embeddings: 6 {extra} }}
      final_dnn {{ hidden_units: [4] use_bn: false activation: 'leaky_relu' }} }}"""
    return histories.build(text, "max_seq_len: 4" if "t" in groups.get("text", ()) else "")


def _rows(oracle: Oracle, case: str, group: str) -> list[np.ndarray]:
    order = [n for n in ("image", "general", "other") if n in CASES[case][0]]
    position = order.index(group)
    scope = f"input_layer_{position}" if position else "input_layer"
    return [rows_of(oracle, n, f"{scope}/{n}_embedding") for n in CASES[case][0][group]]


def _kinds(oracle: Oracle, case: str) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Tokens of each kind, which of them are no padding, and the name of their places."""
    groups, found = CASES[case][0], []
    plain = {"image": ("img_projection", "img_position_embeddings"), "general": ("txt_projection", "")}
    for group, (name, places) in plain.items():
        if group in groups:
            x = transformer.projected(oracle, name, np.stack(_rows(oracle, case, group), 1), HIDDEN)
            found.append((x, np.ones(x.shape[:2], bool), places))
    for i, feature in enumerate(groups.get("text", ())):
        x, lengths = transformer.text(oracle, feature)
        x = transformer.projected(oracle, f"txt_seq_projection_{i}", x, HIDDEN)
        none = np.array([not row[-1] for row in histories.ROWS]) & (feature == "t")
        x = np.where(none[:, None, None], 0.0, x)
        found.append((x, np.arange(x.shape[1]) < lengths[:, None], f"txt_position_embeddings_{i}"))
    return found


def formula(oracle: Oracle, case: str) -> np.ndarray:
    tokens, seen, kinds = [], [], _kinds(oracle, case)
    for i, (x, mask, places) in enumerate(kinds):
        if len(kinds) > 1:
            x = x + oracle.get("token_type/token_type_embeddings")[i]
        if places and case != "image":
            x = x + oracle.get(f"position_embedding/{places}")[: x.shape[1]]
        tokens.append(transformer.layer_norm(oracle, f"LayerNorm_{i}" if i else "LayerNorm", x))
        seen.append(mask)
    found = []
    if kinds:
        rows = len(histories.ROWS)
        own = np.broadcast_to(oracle.get("cls_emb"), (rows, 1, HIDDEN))
        whole = np.concatenate([own, *tokens], axis=1)
        may = np.concatenate([np.ones((rows, 1), bool), *seen], axis=1)
        found.append(transformer.encoder(oracle, "uniter", whole, 2, HEADS, may, np.tanh)[:, 0])
    if "other" in CASES[case][0]:
        other = np.concatenate(_rows(oracle, case, "other"), axis=1)
        found.append(oracle.dnn("other_dnn", other, 1, norm=True) if case == "all" else other)
    hidden = oracle.dnn("final_dnn", np.concatenate(found, axis=1), 1, activation=transformer.leaky_relu)
    return oracle.dense("output", hidden)


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    made = built(case)
    values = made.values()
    for training in (False, True):
        oracle = Oracle(values, training)
        expected = formula(oracle, case)
        found = made.run(training).outputs["logits"].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert oracle.used == set(values)


def test_all_learns_and_is_served() -> None:
    made = built("all")
    check_gradients(made, {name for name in made.dense_names if name.endswith("key/bias")}, least=1e-9)
    np.testing.assert_allclose(made.served()["logits"], made.predicted()["logits"], rtol=1e-4, atol=1e-5)
