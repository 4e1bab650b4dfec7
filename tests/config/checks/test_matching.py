"""Options of the softmax loss of matching models that are refused, with line and field."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob

from hvdrec.errors import ConfigError

LIST_WISE = "loss_type: SOFTMAX_CROSS_ENTROPY "
METRICS = "metrics_set { recall_at_topk { topk: 5 } }"


def _text(model_extra: str, model: str = "DSSM", metrics: str = METRICS) -> str:
    folder = pathlib.Path("run")
    job = SmallJob(pathlib.Path("rows.csv"), folder, model=model, model_extra=model_extra, metrics=metrics)
    return job.text()


def test_right(checked) -> None:
    checked(_text(LIST_WISE + "softmax_cross_entropy { cross_replica: true sampling_correction: true }"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("frequency_momentum: 1", "frequency_momentum: must be"),
        ("frequency_buckets: 0", "frequency_buckets: must be"),
    ],
)
def test_numbers_out_of_range(options: str, problem: str, checked) -> None:
    with pytest.raises(ConfigError, match=problem):
        checked(_text(f"{LIST_WISE} softmax_cross_entropy {{ {options} }}"))


def test_the_options_of_another_loss(checked) -> None:
    with pytest.raises(
        ConfigError, match="softmax_cross_entropy: has the options of loss_type: SOFTMAX_CROSS_EN"
    ):
        checked(_text("softmax_cross_entropy { }", metrics="metrics_set { auc {} }"))
    with pytest.raises(
        ConfigError, match="softmax_cross_entropy: has the options of loss_type: SOFTMAX_CROSS_EN"
    ):
        checked(_text("softmax_cross_entropy { }", model="DeepFM", metrics="metrics_set { auc {} }"))


def test_items_are_counted_by_their_ids(checked) -> None:
    text = _text(LIST_WISE + "softmax_cross_entropy { sampling_correction: true }")
    with pytest.raises(ConfigError, match=r"counts items by their ids; model_config.dssm.item_id must name"):
        checked(text.replace('item_id: "b"', ""))
