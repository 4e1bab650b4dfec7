"""DLRM against EasyRec's formula."""

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

SPARSE = ["b", "tags", "a"]
KERNELS = {"bot_dnn/dnn_0", "bot_dnn/dnn_1", "top_dnn/dnn_0", "output"}


def _config(extra: str = "", norm: bool = False, dropout: str = "") -> str:
    use_bn = f"use_bn: {str(norm).lower()}"
    return f"""model_class: "DLRM"
      feature_groups {{ group_name: "dense" wide_deep: DEEP feature_names: ["x", "y"] }}
      feature_groups {{ group_name: "sparse" wide_deep: DEEP feature_names: ["b", "tags", "a"] }}
      dlrm {{ bot_dnn {{ hidden_units: [6, 4] {use_bn} }} top_dnn {{ hidden_units: [5] {use_bn} {dropout} }}
        {extra} l2_regularization: {L2} }}"""


def _formula(
    norm: bool = False, itself: bool = False, with_dense: bool = False, cat: bool = False
) -> Formula:
    def formula(oracle: Oracle) -> np.ndarray:
        dense = oracle.dnn("bot_dnn", oracle.concat("", ["x", "y"]), 2, norm)
        sparse = oracle.features("input_layer", SPARSE)
        if cat:
            parts = [dense, *sparse]
        else:
            vectors = [dense, *sparse]
            parts = [
                np.sum(vectors[i] * vectors[j], axis=1, keepdims=True)
                for i in range(len(vectors))
                for j in range(i if itself else i + 1, len(vectors))
            ]
            # The embeddings follow the dots, the dense vector only when it is asked for.
            parts += sparse
            parts += [dense] if with_dense else []
        top = oracle.dnn("top_dnn", np.concatenate(parts, axis=1), 1, norm)
        return oracle.dense("output", top)

    return formula


CASES = {
    "dot": (_config(), False, _formula()),
    "batch_norm": (_config(norm=True), True, _formula(norm=True)),
    "all": (
        _config("arch_interaction_itself: true arch_with_dense_feature: true"),
        False,
        _formula(itself=True, with_dense=True),
    ),
    "cat": (_config('arch_interaction_op: "cat"', norm=True), True, _formula(norm=True, cat=True)),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    config, norm, formula = CASES[case]
    built = build(config)
    assert built.dense_names == (
        dnn_names("bot_dnn", 2, norm) | dnn_names("top_dnn", 1, norm) | dense_names("output")
    )
    check_logits(built, formula)
    check_gradients(built)
    check_penalties(built, formula, KERNELS)


def test_dropout() -> None:
    check_dropout(build(_config(dropout="dropout_ratio: [0.3]")), _formula(), "top_dnn/dnn_0", 0.3)
