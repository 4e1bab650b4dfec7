"""FM against EasyRec's formula."""

from __future__ import annotations

import numpy as np
import pytest
from models.oracle import (
    L2,
    Oracle,
    build,
    check_gradients,
    check_logits,
    check_penalties,
    dense_names,
    interactions,
)

WIDE_NAMES = ["a", "b", "c", "tags"]
DEEP_NAMES = ["tags", "a", "c"]


def _config(num_class: int) -> str:
    return f"""model_class: "FM" num_class: {num_class}
      feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: ["a", "b", "c", "tags"] }}
      feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: ["tags", "a", "c"] }}
      fm {{ l2_regularization: {L2} }}"""


def _formula(oracle: Oracle) -> np.ndarray:
    wide = np.sum(oracle.wide("input_layer", WIDE_NAMES), axis=0)
    pairs = interactions(oracle.features("input_layer_1", DEEP_NAMES))
    return wide + pairs.sum(axis=1, keepdims=True) + oracle.get("fm_bias")


def _formula_of_classes(oracle: Oracle) -> np.ndarray:
    wide = np.sum(oracle.wide("input_layer", WIDE_NAMES), axis=0)
    pairs = interactions(oracle.features("input_layer_1", DEEP_NAMES))
    return wide + oracle.dense("fm_logits", pairs) + oracle.get("fm_bias")


def test_one_class() -> None:
    built = build(_config(1))
    assert built.dense_names == {"fm_bias"}
    check_logits(built, _formula)
    check_gradients(built)
    check_penalties(built, _formula, set())


@pytest.mark.parametrize("classes", [1, 3])
def test_a_narrower_feature_is_padded_with_zeros(classes: int) -> None:
    built = build(_config(classes), width_of_a=2)
    formula = _formula if classes == 1 else _formula_of_classes
    check_logits(built, formula)
    check_gradients(built)
    check_penalties(built, formula, set() if classes == 1 else {"fm_logits"})


def test_classes() -> None:
    built = build(_config(3))
    assert built.dense_names == dense_names("fm_logits") | {"fm_bias"}
    check_logits(built, _formula_of_classes)
    check_gradients(built)
    check_penalties(built, _formula_of_classes, {"fm_logits"})
