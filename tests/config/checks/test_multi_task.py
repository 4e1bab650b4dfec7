"""What is refused in models with several towers."""

from __future__ import annotations

import pathlib
import re

import pytest
from small_job import SmallJob

from hvdrec.errors import ConfigError

TEXT = SmallJob(
    pathlib.Path("rows.csv"),
    pathlib.Path("run"),
    model="MMoE",
    data_extra='label_fields: "weight"',
    metrics="",
).text()
SECOND = 'tower_name: "value" label_name: "label"'


def test_good(checked) -> None:
    _, unused = checked(TEXT).warnings
    assert "label_fields[1]: has no effect: no output is trained with 'weight'" in unused
    for used in (
        'tower_name: "value"',
        f'{SECOND} task_space_indicator_label: "weight" in_task_space_weight: 2',
    ):
        (warning,) = checked(TEXT.replace(SECOND, used)).warnings
        assert "eval_input_path" in warning


@pytest.mark.parametrize(
    ("old", "new", "path", "problem"),
    [
        ('"value"', '"ctr"', "task_towers[1].tower_name", "two towers are named 'ctr'"),
        ('"value"', '""', "task_towers[1].tower_name", "is missing"),
        (SECOND, 'tower_name: "v" label_name: "wait"', "task_towers[1].label_name", "did you mean weight?"),
        ("num_expert: 3", "", "num_expert", "must be above 0"),
        ("expert_dnn { hidden_units: [8] use_bn: true } num_expert: 3", "", "mmoe", "has no experts"),
        ("metrics_set { mean_squared_error {} }", "metrics_set { auc {} }", "task_towers[1].metrics_set[0].auc", "needs a loss that gives probabilities"),
        ("loss_type: L2_LOSS", "loss_type: JRC_LOSS num_class: 3", "task_towers[1].loss_type", ""),
        ("weight: 0.5", "weight: -1", "task_towers[1].weight", "must be at least 0"),
        (
            SECOND,
            f'{SECOND} task_space_indicator_name: "c"',
            "task_towers[1].task_space_indicator_name",
            "'c' is INT32; it must be STRING",
        ),
        (
            SECOND,
            f'{SECOND} task_space_indicator_label: "uid"',
            "task_towers[1].task_space_indicator_label",
            "is not among data_config.label_fields",
        ),
    ],
)  # fmt: skip
def test_refused(checked, old: str, new: str, path: str, problem: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as error:
        checked(TEXT.replace(old, new, 1))
    place = rf".*model_config\.(mmoe\.)?{re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.match(place, line) for line in str(error.value).split("\n")), error.value


def test_a_tower_without_a_label(checked) -> None:
    text = TEXT.replace('label_fields: "weight"', "").replace(SECOND, 'tower_name: "value"')
    with pytest.raises(ConfigError, match="has no label number 2"):
        checked(text)


def test_what_is_not_shared_is_warned_about(checked) -> None:
    text = TEXT.replace("model_config {", "model_config { num_class: 2 losses { loss_type: L2_LOSS }")
    text = text.replace("eval_config {", "eval_config { metrics_set { auc {} }")
    found = [w for w in checked(text).warnings if "has no effect; set it in each tower" in w]
    assert [re.search(r"(\w+): has no", w)[1] for w in found] == ["num_class", "losses", "metrics_set"]
