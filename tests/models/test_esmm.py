"""ESMM: its product in float64, and EasyRec's evaluation of both spaces."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from golden.easyrec import golden_run

from hvdrec.commands.restored import restore
from hvdrec.config.models.heads import HeadConfig
from hvdrec.models.esmm import product_logit
from hvdrec.models.heads.product import AfterClickHead
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.watch.evaluator import Evaluator


@pytest.mark.parametrize(("a", "b"), [(0.3, -1.2), (30.0, 35.0), (-60.0, 4.0), (80.0, -80.0), (0.0, 0.0)])
def test_the_product_keeps_its_accuracy(a: float, b: float) -> None:
    """log p and log(1 - p) of p = sigmoid(a) sigmoid(b), also where p is 0 or 1 in float32."""
    first, second = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([first, second])
        logit = product_logit(first, second)
    missing = np.logaddexp(-a, 0.0) + np.logaddexp(-b, 0.0)  # -log p
    log_of_rest = np.logaddexp(-np.logaddexp(a, 0.0), -np.logaddexp(-a, 0.0) - np.logaddexp(b, 0.0))
    assert float(logit) == pytest.approx(-missing - log_of_rest, rel=1e-6, abs=1e-6)
    # d logit / d a = sigmoid(-a) / (1 - p)
    for x, gradient in zip((a, b), tape.gradient(logit, [first, second]), strict=True):
        assert float(gradient) == pytest.approx(np.exp(-np.logaddexp(x, 0.0) - log_of_rest), rel=1e-5)


def test_metrics_of_all_rows_and_of_those_with_a_click(tmp_path: pathlib.Path) -> None:
    run = golden_run("esmm_taobao")
    job, _ = restore(run.config(tmp_path), SingleReplica(), run.checkpoint(run.last_step))
    found = job.evaluate(Evaluator(job.recommender, job.feed))
    expected = json.loads((run.folder / "eval_result.json").read_text())
    assert {"auc_ctr", "auc_ctcvr", "auc_cvr_masked"} == {name for name in expected if "auc" in name}
    assert "auc_cvr" not in found
    for name in expected.keys() - {"global_step"}:
        # No row with a click has a purchase: EasyRec gives 0 where there is nothing to rank.
        value = 0.0 if np.isnan(found[name]) else found[name]
        assert value == pytest.approx(expected[name], rel=1e-5), name


def test_after_a_click_only_such_rows_count() -> None:
    cvr = HeadConfig(kind="logit", label="buy", losses=(), name="cvr")
    head = AfterClickHead(
        dataclasses.replace(cvr, kind="after_click", name="cvr_masked", gate="clk", of=("cvr", "ctr"))
    )
    arrays = {"label/buy": np.array([1.0, 0.0, 1.0]), "label/clk": np.array([1.0, 1.0, 0.0])}
    predictions = {"probs_cvr": np.array([0.1, 0.2, 0.3]), "probs_ctr": np.array([0.9, 0.9, 0.9])}
    labels, found, ids = head.evaluated_rows(arrays, predictions, {"uid": np.array([7, 8, 9])})
    assert labels.tolist() == [1.0, 0.0]
    assert {name: a.tolist() for name, a in found.items()} == {"probs": [0.1, 0.2]}
    assert ids["uid"].tolist() == [7, 8]
