"""EasyRec's runs of models with several tasks: metrics and losses by tower."""

from __future__ import annotations

import json
import pathlib

import pytest
import tensorflow as tf
from golden.easyrec import assert_followed, golden_run, our_predictions, our_trace, parted

from hvdrec.commands.restored import restore
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.multi_task.experts import ExpertBank
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.watch.evaluator import Evaluator


def test_names_and_metrics_go_by_tower(tmp_path: pathlib.Path) -> None:
    run = golden_run("mmoe_taobao")
    assert set(next(our_predictions(run, tmp_path, 0))) == set(run.predictions(0))
    job, _ = restore(run.config(tmp_path), SingleReplica(), run.checkpoint(run.last_step))
    found = job.evaluate(Evaluator(job.recommender, job.feed))
    expected = json.loads((run.folder / "eval_result.json").read_text())
    assert {"auc_ctr", "auc_cvr"} <= set(expected)
    for name in expected.keys() - {"global_step"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


def test_trace_of_mmoe(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyRec builds the experts in inference mode; with that, its losses at every step and its last weights."""
    original = ExpertBank.__call__

    def as_for_inference(self: ExpertBank, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        return original(self, x, ForwardContext(training=False))

    run = golden_run("mmoe_taobao")
    with monkeypatch.context() as patch:
        patch.setattr(ExpertBank, "__call__", as_for_inference)
        assert_followed(run, tmp_path / "run")
    assert parted(our_trace(run, tmp_path / "trained"), run.trace()) > 1e-3
