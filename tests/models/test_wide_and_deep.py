"""WideAndDeep against EasyRec's formula."""

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

WIDE_NAMES = ["a", "b", "tags"]
DEEP_NAMES = ["tags", "c", "a", "y", "x"]


def _config(block: str, num_class: int = 1) -> str:
    return f"""model_class: "WideAndDeep" num_class: {num_class}
      feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: ["a", "b", "tags"] }}
      feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: ["tags", "c", "a", "y", "x"] }}
      wide_and_deep {{ {block} l2_regularization: {L2} }}"""


ADDED = _config("dnn { hidden_units: [6, 5] use_bn: false }")
# Without final_dnn the wide part has a column for each class, whatever wide_output_dim says.
ADDED_CLASSES = _config("dnn { hidden_units: [6] use_bn: true } wide_output_dim: 2", num_class=3)
FINAL = _config(
    """dnn { hidden_units: [6, 5] use_bn: true } final_dnn { hidden_units: [4] use_bn: true }
       wide_output_dim: 2"""
)
DROPPED = _config("dnn { hidden_units: [6, 4] use_bn: false dropout_ratio: [0, 0.4] }")


def _added(layers: int, norm: bool) -> Formula:
    def formula(oracle: Oracle) -> np.ndarray:
        wide = np.sum(oracle.wide("input_layer", WIDE_NAMES), axis=0)
        deep = oracle.dnn("deep_feature", oracle.concat("input_layer_1", DEEP_NAMES), layers, norm)
        return oracle.dense("deep_out", deep) + wide

    return formula


def _final(oracle: Oracle) -> np.ndarray:
    wide = np.sum(oracle.wide("input_layer", WIDE_NAMES), axis=0)
    assert wide.shape[1] == 2
    deep = oracle.dnn("deep_feature", oracle.concat("input_layer_1", DEEP_NAMES), 2, True)
    final = oracle.dnn("final_dnn", np.concatenate([wide, deep], axis=1), 1, True)
    return oracle.dense("output", final)


CASES = {
    "added": (
        ADDED,
        _added(2, False),
        dnn_names("deep_feature", 2) | dense_names("deep_out"),
        {"deep_feature/dnn_0", "deep_feature/dnn_1", "deep_out"},
    ),
    "added_classes": (
        ADDED_CLASSES,
        _added(1, True),
        dnn_names("deep_feature", 1, True) | dense_names("deep_out"),
        {"deep_feature/dnn_0", "deep_out"},
    ),
    "final": (
        FINAL,
        _final,
        dnn_names("deep_feature", 2, True) | dnn_names("final_dnn", 1, True) | dense_names("output"),
        {"deep_feature/dnn_0", "deep_feature/dnn_1", "final_dnn/dnn_0", "output"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    config, formula, names, kernels = CASES[case]
    built = build(config)
    assert built.dense_names == names
    check_logits(built, formula)
    check_gradients(built)
    check_penalties(built, formula, kernels)


def test_dropout() -> None:
    check_dropout(build(DROPPED), _added(2, False), "deep_feature/dnn_1", 0.4)
