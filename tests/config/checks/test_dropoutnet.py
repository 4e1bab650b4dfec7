"""What is refused in a DropoutNet config."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError

MINING = "loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING"
METRICS = "metrics_set { auc {} } metrics_set { precision {} } metrics_set { recall {} }"


def checked(
    folder: pathlib.Path, losses: str, *edits: tuple[str, str], model: str = "DropoutNet"
) -> list[str]:
    text = SmallJob(
        folder / "rows.csv", folder / "run", model, folder / "rows.csv", model_extra=losses, metrics=METRICS
    ).text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path = folder / "x.config"
    path.write_text(text)
    return check(load(str(path)))


@pytest.mark.parametrize(
    "losses", [MINING, f"losses {{ {MINING} }} losses {{ loss_type: PAIR_WISE_LOSS }}", ""]
)
def test_good(tmp_path: pathlib.Path, losses: str) -> None:
    assert checked(tmp_path, losses) == []


BLOCK = "softmax_loss { num_negative_samples: 3 margin: 0 gamma: 5 coefficient_of_support_vector: 1.2 }"


@pytest.mark.parametrize(
    ("losses", "edit", "message"),
    [
        (MINING, (BLOCK, ""), "needs a block softmax_loss"),
        (MINING, ("num_negative_samples: 3", "num_negative_samples: 0"), "must be at least 1"),
        (
            "",
            ('"item_content" wide', '"other" wide'),
            "needs a group item_content or item_preference, or both",
        ),
        (
            "",
            ("item_tower { hidden_units: [8, 4]", "item_tower { hidden_units: [8, 5]"),
            "width of user_tower, 4",
        ),
        (
            "",
            ("user_tower { hidden_units: [8, 4]", "user_tower { hidden_units: [0]"),
            "must end with the embedding's",
        ),
        ("", ("user_dropout_rate: 0.3", "user_dropout_rate: 1"), "user_dropout_rate"),
        ("num_class: 2", ("", ""), "DropoutNet has one output"),
        (f"losses {{ {MINING} softmax_loss {{ num_negative_samples: 2 }} }}", ("", ""), "keep one of them"),
    ],
)
def test_refused(tmp_path: pathlib.Path, losses: str, edit: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(tmp_path, losses, edit)


def test_the_loss_is_for_two_towers(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="applies only to model class DropoutNet"):
        checked(tmp_path, MINING, model="DeepFM")
