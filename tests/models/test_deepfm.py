"""DeepFM against EasyRec's formula."""

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
    interactions,
)

NAMES = ["a", "b", "c", "tags"]
FM_NAMES = ["a", "tags", "b"]


def _config(block: str, num_class: int = 1, fm_group: bool = False) -> str:
    fm = 'feature_groups { group_name: "fm" wide_deep: DEEP feature_names: ["a", "tags", "b"] }'
    return f"""model_class: "DeepFM" num_class: {num_class}
      feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: ["a", "b", "c", "tags"] }}
      feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: ["a", "b", "c", "tags"] }}
      {fm if fm_group else ""}
      deepfm {{ {block} l2_regularization: {L2} }}"""


FINAL = _config("dnn { hidden_units: [6, 5] use_bn: false } final_dnn { hidden_units: [4] use_bn: false }")
WIDE = _config(
    """dnn { hidden_units: [6, 5] use_bn: true } final_dnn { hidden_units: [4] use_bn: true }
       wide_output_dim: 3"""
)
ADDED = _config("dnn { hidden_units: [6, 5] use_bn: true } wide_output_dim: 1")
CLASSES = _config("dnn { hidden_units: [6] use_bn: false } wide_output_dim: 3", num_class=3, fm_group=True)
FINAL_CLASSES = _config(
    """dnn { hidden_units: [6] use_bn: false } final_dnn { hidden_units: [4] use_bn: true }
       wide_output_dim: 3""",
    num_class=3,
)
DROPPED = _config(
    """dnn { hidden_units: [6] use_bn: false }
       final_dnn { hidden_units: [4] use_bn: false dropout_ratio: [0.25] }"""
)


def _final(deep_layers: int, per_class: bool, norms: tuple[bool, bool]) -> Formula:
    def formula(oracle: Oracle) -> np.ndarray:
        wide = np.stack(oracle.wide("input_layer", NAMES))
        linear = wide.sum(axis=0) if per_class else wide.sum(axis=(0, 2))[:, None]
        vectors = oracle.features("input_layer_1", NAMES)
        deep = oracle.dnn("deep_feature", np.concatenate(vectors, axis=1), deep_layers, norms[0])
        both = np.concatenate([linear, interactions(vectors), deep], axis=1)
        return oracle.dense("output", oracle.dnn("final_dnn", both, 1, norms[1]))

    return formula


def _added(oracle: Oracle) -> np.ndarray:
    wide = np.sum(oracle.wide("input_layer", NAMES), axis=0)
    vectors = oracle.features("input_layer_1", NAMES)
    second = interactions(vectors).sum(axis=1, keepdims=True)
    deep = oracle.dnn("deep_feature", np.concatenate(vectors, axis=1), 2, True)
    return wide + second + oracle.dense("deep_logits", deep)


def _classes(oracle: Oracle) -> np.ndarray:
    wide = np.sum(oracle.wide("input_layer", NAMES), axis=0)
    deep = oracle.dnn("deep_feature", oracle.concat("input_layer_1", NAMES), 1)
    second = oracle.dense("fm_logits", interactions(oracle.features("input_layer_2", FM_NAMES)))
    return wide + second + oracle.dense("deep_logits", deep)


CASES = {
    "final": (
        FINAL,
        _final(2, False, (False, False)),
        dnn_names("deep_feature", 2) | dnn_names("final_dnn", 1) | dense_names("output"),
        {"deep_feature/dnn_0", "deep_feature/dnn_1", "final_dnn/dnn_0", "output"},
    ),
    "wide": (
        WIDE,
        _final(2, False, (True, True)),
        dnn_names("deep_feature", 2, True) | dnn_names("final_dnn", 1, True) | dense_names("output"),
        {"deep_feature/dnn_0", "deep_feature/dnn_1", "final_dnn/dnn_0", "output"},
    ),
    "added": (
        ADDED,
        _added,
        dnn_names("deep_feature", 2, True) | dense_names("deep_logits"),
        {"deep_feature/dnn_0", "deep_feature/dnn_1", "deep_logits"},
    ),
    "classes": (
        CLASSES,
        _classes,
        dnn_names("deep_feature", 1) | dense_names("fm_logits", "deep_logits"),
        {"deep_feature/dnn_0", "fm_logits", "deep_logits"},
    ),
    "final_classes": (
        FINAL_CLASSES,
        _final(1, True, (False, True)),
        dnn_names("deep_feature", 1) | dnn_names("final_dnn", 1, True) | dense_names("output"),
        {"deep_feature/dnn_0", "final_dnn/dnn_0", "output"},
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


def test_a_narrower_feature_is_padded_in_products() -> None:
    config, formula, _, kernels = CASES["final_classes"]
    built = build(config, width_of_a=2)
    check_logits(built, formula)
    check_gradients(built)
    check_penalties(built, formula, kernels)


def test_dropout() -> None:
    check_dropout(build(DROPPED), _final(1, False, (False, False)), "final_dnn/dnn_0", 0.25)
