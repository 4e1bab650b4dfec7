"""DCN against EasyRec's formula."""

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
)

NAMES = ["a", "x", "tags", "c", "y"]


def _config(norm: bool, cross_num: int, num_class: int = 1, dropout: str = "") -> str:
    use_bn = f"use_bn: {str(norm).lower()}"
    return f"""model_class: "DCN" num_class: {num_class}
      feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: ["a", "x", "tags", "c", "y"] }}
      dcn {{ deep_tower {{ input: "all" dnn {{ hidden_units: [6, 5] {use_bn} }} }}
        cross_tower {{ input: "all" cross_num: {cross_num} }}
        final_dnn {{ hidden_units: [4] use_bn: false {dropout} }} l2_regularization: {L2} }}"""


def _formula(norm: bool, cross_num: int) -> Formula:
    def formula(oracle: Oracle) -> np.ndarray:
        x0 = oracle.concat("input_layer", NAMES)
        x = x0
        for i in range(cross_num):
            w, b = oracle.get(f"cross_layer_{i}_w"), oracle.get(f"cross_layer_{i}_b")
            x = np.stack([first * float(row @ w) + b + row for first, row in zip(x0, x, strict=True)])
        both = np.concatenate([oracle.dnn("dnn", x0, 2, norm), x], axis=1)
        return oracle.dense("output", oracle.dnn("final_dnn", both, 1))

    return formula


@pytest.mark.parametrize(("norm", "cross_num", "num_class"), [(False, 3, 1), (True, 1, 3)])
def test_formula(norm: bool, cross_num: int, num_class: int) -> None:
    built = build(_config(norm, cross_num, num_class))
    cross = {f"cross_layer_{i}_{part}" for i in range(cross_num) for part in "wb"}
    assert built.dense_names == (
        cross | dnn_names("dnn", 2, norm) | dnn_names("final_dnn", 1) | dense_names("output")
    )
    formula = _formula(norm, cross_num)
    check_logits(built, formula)
    check_gradients(built)
    # The output layer has no penalty.
    check_penalties(built, formula, {"dnn/dnn_0", "dnn/dnn_1", "final_dnn/dnn_0"})


def test_dropout() -> None:
    built = build(_config(False, 1, dropout="dropout_ratio: [0.5]"))
    check_dropout(built, _formula(False, 1), "final_dnn/dnn_0", 0.5)
