"""AutoInt against the paper's formula, and with EasyRec's scale."""

from __future__ import annotations

import numpy as np
import pytest
from models.oracle import L2, Oracle, build, check_gradients, check_logits, check_penalties

NAMES = ["a", "b", "c", "tags"]
HEADS, SIZE, LAYERS = 2, 3, 2


def _config(extra: str) -> str:
    return f"""model_class: "AutoInt" num_class: 2
      feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: ["a", "b", "c", "tags"] }}
      autoint {{ multi_head_num: {HEADS} multi_head_size: {SIZE} interacting_layer_num: {LAYERS}
                 l2_regularization: {L2} {extra} }}"""


def _formula(oracle: Oracle, scale: float) -> np.ndarray:
    x = np.stack(oracle.features("input_layer", NAMES), axis=1)
    for i in range(LAYERS):
        name = f"multi_head_self_attention_layer_{i}"
        q, k, v = (x @ oracle.get(f"{name}/{part}/dnn/kernel") for part in ("query", "key", "value"))
        heads = []
        for h in range(HEADS):
            own = slice(h * SIZE, (h + 1) * SIZE)
            scores = np.exp(scale * np.einsum("bfd,bgd->bfg", q[..., own], k[..., own]))
            heads.append(np.einsum("bfg,bgd->bfd", scores / scores.sum(axis=2, keepdims=True), v[..., own]))
        x = np.maximum(np.concatenate(heads, axis=2) + x @ oracle.get(f"{name}/dnn/kernel"), 0.0)
    return oracle.dense("output", x.reshape(len(x), -1))


@pytest.mark.parametrize(
    ("extra", "scale"), [("", SIZE**-0.5), ("easyrec_scale: true", SIZE**0.5)], ids=["paper", "easyrec"]
)
def test_formula(extra: str, scale: float) -> None:
    def formula(oracle: Oracle) -> np.ndarray:
        return _formula(oracle, scale)

    built = build(_config(extra))
    check_logits(built, formula)
    check_gradients(built)
    parts = ("/query", "/key", "/value", "")
    kernels = {f"multi_head_self_attention_layer_{i}{part}/dnn" for i in range(LAYERS) for part in parts}
    check_penalties(built, formula, kernels)
