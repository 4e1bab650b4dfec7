"""MMoE against EasyRec's formula."""

from __future__ import annotations

import numpy as np
import pytest
from models.oracle import (
    L2,
    Oracle,
    build,
    check_dropout,
    check_gradients,
    check_logits,
    check_penalties,
)


def _config(experts: str, dropout: str = "") -> str:
    return f"""model_class: "MMoE"
      feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: ["a", "x", "tags"] }}
      mmoe {{ {experts} l2_regularization: {L2}
        task_towers {{ tower_name: "ctr" label_name: "label" dnn {{ hidden_units: [3] use_bn: false {dropout} }} }}
        task_towers {{ tower_name: "level" label_name: "label" num_class: 3 }} }}"""


SHARED = "expert_dnn { hidden_units: [5, 4] use_bn: true } num_expert: 2"
EACH = """experts { expert_name: "one" dnn { hidden_units: [5, 4] use_bn: true } }
  experts { expert_name: "two" dnn { hidden_units: [5, 4] use_bn: true } }"""


def _formula(oracle: Oracle) -> np.ndarray:
    x = oracle.concat("input_layer", ["a", "x", "tags"])
    experts = [oracle.dnn(f"mmoe/expert_{i}", x, 2, norm=True) for i in range(2)]
    found = []
    for i, (name, layers) in enumerate((("ctr", 1), ("level", 0))):
        scores = oracle.dense(f"mmoe/gate_{i}/dnn", x)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = sum(weights[:, j : j + 1] * expert for j, expert in enumerate(experts))
        found.append(oracle.dense(f"dnn_output_{i}", oracle.dnn(name, mixed, layers)))
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("experts", [SHARED, EACH])
def test_formula(experts: str) -> None:
    """The experts train with batch norm: its moving averages follow, its statistics are the batch's."""
    built = build(_config(experts))
    check_logits(built, _formula)
    check_gradients(built)
    kernels = {f"mmoe/expert_{i}/dnn_{j}" for i in range(2) for j in range(2)}
    kernels |= {"mmoe/gate_0/dnn", "mmoe/gate_1/dnn", "ctr/dnn_0", "dnn_output_0", "dnn_output_1"}
    check_penalties(built, _formula, kernels)


def test_dropout() -> None:
    check_dropout(build(_config(SHARED, "dropout_ratio: [0.5]")), _formula, "ctr/dnn_0", 0.5)
