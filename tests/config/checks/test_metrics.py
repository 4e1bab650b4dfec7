"""Metrics that don't fit the model are refused before anything runs."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError


def _check(tmp_path: pathlib.Path, metrics: str, model: str) -> list[str]:
    write_data(tmp_path / "d.csv", 3)
    job = SmallJob(tmp_path / "d.csv", tmp_path / "m", model="DCN", evaluation=tmp_path / "d.csv")
    path = job.write(tmp_path / "c.config")
    text = path.read_text().replace("eval_config { ", f"eval_config {{ {metrics} ")
    text = text.replace("embedding_regularization: 1e-5", model)
    path.write_text(text.replace('metrics_set { auc {} } metrics_set { gauc { uid_field: "uid" } }', ""))
    return check(load(str(path)))


@pytest.mark.parametrize(
    ("metrics", "model"),
    [
        ("metrics_set { accuracy {} }", "num_class: 1"),
        ("metrics_set { accuracy {} } metrics_set { recall_at_topk { topk: 3 } }", "num_class: 3"),
        (
            "metrics_set { auc {} } metrics_set { recall_at_topk { topk: 1 } } "
            "metrics_set { recall_at_topk { topk: 2 } }",
            "num_class: 3",
        ),
        (
            "metrics_set { precision {} } metrics_set { precision { threshold: 0.3 } } metrics_set { recall {} }",
            "num_class: 2",
        ),
        ("metrics_set { auc {} } metrics_set { auc {} }", "num_class: 2"),
        ("metrics_set { mean_squared_error {} }", "loss_type: L2_LOSS"),
    ],
)
def test_taken(tmp_path: pathlib.Path, metrics: str, model: str) -> None:
    assert _check(tmp_path, metrics, model) == []


@pytest.mark.parametrize(
    ("metrics", "model", "message"),
    [
        ("metrics_set { max_f1 {} }", "num_class: 3", r"\[0\]\.max_f1: needs num_class 1 or 2, is 3"),
        ("metrics_set { accuracy {} }", "loss_type: L2_LOSS", "needs a loss that gives probabilities"),
        ("metrics_set { mean_absolute_error {} }", "num_class: 2", "needs num_class 1, is 2"),
        (
            "metrics_set { recall_at_topk {} }",
            "num_class: 3",
            r"topk: must be at least 1 and at most num_class \(3\), is 5",
        ),
        (
            "metrics_set { recall { threshold: 1.5 } }",
            "",
            r"recall\.threshold: must be at least 0 and at most 1",
        ),
        (
            "metrics_set { auc {} } metrics_set { auc { num_thresholds: 10 } }",
            "",
            r"metrics_set\[1\]\.auc: is listed twice",
        ),
        ('metrics_set { gauc { uid_field: "nobody" } }', "", "no feature or input field is named 'nobody'"),
    ],
)
def test_refused(tmp_path: pathlib.Path, metrics: str, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _check(tmp_path, metrics, model)


@pytest.mark.parametrize(
    ("losses", "outcome"),
    [
        ("losses { loss_type: CLASSIFICATION pairwise_loss {} }", "pairwise_loss: has no effect"),
        ("losses { loss_type: CLASSIFICATION learn_loss_weight: true }", "has no effect without"),
        (
            "losses { loss_type: F1_REWEIGHTED_LOSS pairwise_loss {} }",
            "its parameters go into f1_reweighted_loss",
        ),
        (
            'losses { loss_type: L2_LOSS } losses { loss_type: SIGMOID_L2_LOSS loss_name: "s" }',
            "interpret the output y differently",
        ),
    ],
)
def test_losses(tmp_path: pathlib.Path, losses: str, outcome: str) -> None:
    if "has no effect" in outcome:
        (warning,) = _check(tmp_path, "", losses)
        assert outcome in warning
        return
    with pytest.raises(ConfigError, match=outcome):
        _check(tmp_path, "", losses)
