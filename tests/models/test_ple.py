"""PLE against EasyRec's formula."""

from __future__ import annotations

import numpy as np
from models.oracle import L2, Oracle, build, check_gradients, check_logits, check_penalties

CONFIG = f"""model_class: "PLE"
  feature_groups {{ group_name: "all" wide_deep: DEEP feature_names: ["a", "x", "tags"] }}
  ple {{
    extraction_networks {{ network_name: "one" expert_num_per_task: 2 share_num: 1
      task_expert_net {{ hidden_units: [5, 4] use_bn: true }} share_expert_net {{ hidden_units: [4] use_bn: true }} }}
    extraction_networks {{ network_name: "two" expert_num_per_task: 1 share_num: 2
      task_expert_net {{ hidden_units: [3] use_bn: true }} share_expert_net {{ hidden_units: [3] use_bn: true }} }}
    task_towers {{ tower_name: "ctr" label_name: "label" dnn {{ hidden_units: [3] use_bn: false }} }}
    task_towers {{ tower_name: "level" label_name: "label" num_class: 3 }}
    l2_regularization: {L2} }}"""


def _mixed(oracle: Oracle, gate: str, x: np.ndarray, experts: list[np.ndarray]) -> np.ndarray:
    scores = oracle.dense(f"{gate}/dnn", x)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return sum(weights[:, i : i + 1] * expert for i, expert in enumerate(experts))


def _formula(oracle: Oracle) -> np.ndarray:
    x = oracle.concat("input_layer", ["a", "x", "tags"])
    tasks, shared = [x, x], x
    for name, layers, own, common in (("one", (2, 1), 2, 1), ("two", (1, 1), 1, 2)):
        share = [
            oracle.dnn(f"{name}_share/dnn_expert_{i}/dnn", shared, layers[1], norm=True)
            for i in range(common)
        ]
        experts = [
            [
                oracle.dnn(f"{name}_task_{t}_expert_{i}/dnn", tasks[t], layers[0], norm=True)
                for i in range(own)
            ]
            for t in range(2)
        ]
        gates = [f"{name}_task_{t}_gate" for t in range(2)]
        mixed = [_mixed(oracle, gates[t], tasks[t], [*experts[t], *share]) for t in range(2)]
        if name == "one":
            shared = _mixed(oracle, f"{name}_share_gate", shared, [*experts[0], *experts[1], *share])
        tasks = mixed
    ctr = oracle.dense("dnn_output_0", oracle.dnn("ctr", tasks[0], 1))
    return np.concatenate([ctr, oracle.dense("dnn_output_1", tasks[1])], axis=1)


def test_formula() -> None:
    """Experts of each task and shared ones; after the last layer nothing shared is left to mix."""
    built = build(CONFIG)
    check_logits(built, _formula)
    check_gradients(built)
    kernels = {f"one_task_{t}_expert_{i}/dnn/dnn_{j}" for t in range(2) for i in range(2) for j in range(2)}
    kernels |= {
        "one_share/dnn_expert_0/dnn/dnn_0",
        *(f"two_share/dnn_expert_{i}/dnn/dnn_0" for i in range(2)),
    }
    kernels |= {f"two_task_{t}_expert_0/dnn/dnn_0" for t in range(2)}
    kernels |= {f"{n}_task_{t}_gate/dnn" for n in ("one", "two") for t in range(2)}
    kernels |= {"one_share_gate/dnn", "ctr/dnn_0", "dnn_output_0", "dnn_output_1"}
    check_penalties(built, _formula, kernels)
