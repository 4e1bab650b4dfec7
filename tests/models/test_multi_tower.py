"""MultiTower against EasyRec's formula."""

from __future__ import annotations

import numpy as np
import pytest
from models.oracle import (
    L2,
    Formula,
    Oracle,
    build,
    check_dropout,
    check_gradients,
    check_logits,
    check_penalties,
    dense_names,
    dnn_names,
    norm_names,
)

USER = ["a", "tags", "x"]
ITEM = ["y", "c", "b"]


def _config(norm: bool, num_class: int = 1, activation: str = "", dropout: str = "") -> str:
    more = f"use_bn: {str(norm).lower()} {activation}"
    return f"""model_class: "MultiTower" num_class: {num_class}
      feature_groups {{ group_name: "user" wide_deep: DEEP feature_names: ["a", "tags", "x"] }}
      feature_groups {{ group_name: "item" wide_deep: DEEP feature_names: ["y", "c", "b"] }}
      multi_tower {{ towers {{ input: "user" dnn {{ hidden_units: [6, 5] {more} }} }}
        towers {{ input: "item" dnn {{ hidden_units: [5] {more} }} }}
        final_dnn {{ hidden_units: [4] {more} {dropout} }} l2_regularization: {L2} }}"""


def _formula(norm: bool, activation: object = None) -> Formula:
    def formula(oracle: Oracle) -> np.ndarray:
        user = oracle.batch_norm("user_fea_bn", oracle.concat("input_layer", USER))
        item = oracle.batch_norm("item_fea_bn", oracle.concat("input_layer_1", ITEM))
        towers = [
            oracle.dnn("user_dnn", user, 2, norm, activation),
            oracle.dnn("item_dnn", item, 1, norm, activation),
        ]
        final = oracle.dnn("final_dnn", np.concatenate(towers, axis=1), 1, norm, activation)
        return oracle.dense("output", final)

    return formula


CASES = {
    "plain": (_config(False), False, _formula(False)),
    "batch_norm": (_config(True, num_class=3), True, _formula(True)),
    "tanh": (_config(False, activation='activation: "tf.nn.tanh"'), False, _formula(False, np.tanh)),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    config, norm, formula = CASES[case]
    built = build(config)
    assert built.dense_names == (
        norm_names("user_fea_bn", "item_fea_bn")
        | dnn_names("user_dnn", 2, norm)
        | dnn_names("item_dnn", 1, norm)
        | dnn_names("final_dnn", 1, norm)
        | dense_names("output")
    )
    check_logits(built, formula)
    check_gradients(built, {"user_fea_bn/beta", "item_fea_bn/beta"} if norm else ())
    # The output layer has no penalty.
    check_penalties(built, formula, {"user_dnn/dnn_0", "user_dnn/dnn_1", "item_dnn/dnn_0", "final_dnn/dnn_0"})


def test_dropout() -> None:
    built = build(_config(False, dropout="dropout_ratio: [0.2]"))
    check_dropout(built, _formula(False), "final_dnn/dnn_0", 0.2)
