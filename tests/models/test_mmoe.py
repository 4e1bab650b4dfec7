"""MMoE: EasyRec's golden run, its formula in float64, and what each tower has of its own."""

from __future__ import annotations

import pathlib

import golden
import numpy as np
import pytest
import tensorflow as tf

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
