"""Configs of embedding models that are refused, with line and field."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob

from hvdrec.errors import ConfigError

METRICS = "metrics_set { recall_at_topk { topk: 1 } } metrics_set { recall_at_topk { topk: 5 } }"


def _text(model: str, metrics: str = METRICS) -> str:
    return SmallJob(
        pathlib.Path("rows.csv"),
        pathlib.Path("run"),
        model="CoMetricLearningI2I",
        model_extra=model,
        metrics=metrics,
        data_extra='label_fields: "uid"',
    ).text()


def test_right(checked) -> None:
    checked(_text("loss_type: CIRCLE_LOSS metric_learning { circle_loss { } session_id: 'uid' }"))
    checked(
        _text(
            "loss_type: MULTI_SIMILARITY_LOSS metric_learning { multi_similarity_loss { mining: true } }",
            "metrics_set { precision_at_topk { topk: 3 } }",
        )
    )


@pytest.mark.parametrize(
    ("model", "metrics", "message"),
    [
        ("metric_learning { circle_loss { } }", METRICS, "needs one of CIRCLE_LOSS, MULTI_SIMILARITY_LOSS"),
        ("loss_type: CIRCLE_LOSS", METRICS, "CIRCLE_LOSS needs a block circle_loss {}, found none"),
        (
            "loss_type: CIRCLE_LOSS metric_learning { multi_similarity_loss { } }",
            METRICS,
            "found multi_similarity_loss",
        ),
        (
            "loss_type: CIRCLE_LOSS metric_learning { circle_loss { } session_id: 'a' }",
            METRICS,
            "session_id: 'a' is not among data_config.label_fields",
        ),
        (
            "loss_type: CIRCLE_LOSS metric_learning { circle_loss { gamma: 0 } }",
            METRICS,
            "gamma",
        ),
        (
            "loss_type: CIRCLE_LOSS metric_learning { circle_loss { } highway { input: 'none' emb_size: 4 } }",
            METRICS,
            "no group of feature_groups is named 'none'",
        ),
        (
            "loss_type: CIRCLE_LOSS metric_learning { circle_loss { } }",
            "metrics_set { auc { } }",
            "CoMetricLearningI2I has recall_at_topk, precision_at_topk",
        ),
        (
            "loss_type: CIRCLE_LOSS losses { loss_type: CIRCLE_LOSS } metric_learning { circle_loss { } }",
            METRICS,
            "CoMetricLearningI2I has a single loss; set loss_type",
        ),
    ],
)
def test_refused(checked, model: str, metrics: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(_text(model, metrics))
    assert message in str(caught.value)


def test_other_models_have_neither(checked, example: str) -> None:
    with pytest.raises(ConfigError, match="applies only to model class CoMetricLearningI2I"):
        checked(example.replace("embedding_regularization: 1e-5", "loss_type: CIRCLE_LOSS"))
    with pytest.raises(ConfigError, match="precision_at_topk: applies only to CoMetricLearningI2I"):
        checked(example.replace("auc {}", "precision_at_topk { topk: 3 }"))
