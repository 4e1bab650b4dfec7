"""MMoE: EasyRec's golden run, its formula in float64, and what each tower has of its own."""

from __future__ import annotations

import pathlib

import golden
import numpy as np
import pytest
import tensorflow as tf
from models.oracle import (
    L2,
    Oracle,
    build,
    check_dropout,
    check_gradients,
    check_logits,
    check_penalties,
)

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.experts import ExpertBank


@pytest.fixture
def folder(shared: pathlib.Path) -> pathlib.Path:
    return shared / "golden2" / "mmoe_taobao"


@pytest.mark.parametrize("step", [0, golden.STEPS])
def test_predictions_of_easyrecs_checkpoints(folder: pathlib.Path, tmp_path: pathlib.Path, step: int) -> None:
    ours, theirs = golden.predictions(folder, tmp_path, step)
    assert set(ours) == set(theirs) == {"probs_ctr", "logits_ctr", "probs_cvr", "logits_cvr"}
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-4, err_msg=name)


def test_evaluation_of_easyrecs_checkpoint(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ours, theirs = golden.evaluation(folder, tmp_path)
    assert {"auc_ctr", "auc_cvr"} <= set(theirs)
    for name in theirs.keys() - {"global_step"}:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5), name


def test_losses_of_easyrecs_steps(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EasyRec builds its experts as if for inference; with that, step by step its losses."""
    original = ExpertBank.__call__

    def frozen(self: ExpertBank, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        return original(self, x, ForwardContext(training=False))

    monkeypatch.setattr(ExpertBank, "__call__", frozen)
    ours, theirs = golden.traces(folder, tmp_path)
    for found, expected in zip(ours, theirs, strict=True):
        for name in expected.keys() - {"step"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-3), (found["step"], name)


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
