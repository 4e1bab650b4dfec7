"""docs/config.md: its edits work, its errors are as written, and no field of this project is missing."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from config.test_support import MESSAGES

from hvdrec.config import edit
from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.config.models.registry import SPECS, TO_COME
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
CONFIG = str(ROOT / "configs" / "deepfm_adult.config")
EDITS = [line for block in re.findall(r"```json\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
ERRORS = re.findall(r"^--edit_config_json: (\S+): (.*)$", PAGE, re.M)


@pytest.mark.parametrize("written", EDITS)
def test_the_edits_can_be_made(written):
    config = load(CONFIG)
    before = config.proto.SerializePartialToString(deterministic=True)
    edit.apply(config, edit.parse_edits(written))
    assert config.proto.SerializePartialToString(deterministic=True) != before


def test_the_first_example_is_a_run():
    flags = re.search(r"-m hvdrec\.train (.*?) --model_dir .*?--edit_config_json '(.*?)'", PAGE, re.S)
    assert flags is not None
    assert flags[1] == "--pipeline_config_path configs/deepfm_adult.config"
    load_for_training(parse_train(["--pipeline_config_path", CONFIG, "--edit_config_json", flags[2]]))


@pytest.mark.parametrize(("path", "problem"), ERRORS)
def test_the_errors_are_as_written(path, problem):
    value = re.search(r'no value "(\w+)"', problem)
    with pytest.raises(ConfigError) as error:
        edit.apply(load(CONFIG), json.loads(json.dumps({path: value[1] if value else 1})))
    assert str(error.value) == f"--edit_config_json: {path}: {problem}"


def test_there_are_edits_and_errors():
    assert len(EDITS) > 15
    assert len(ERRORS) == 3


def test_every_field_of_this_project_is_described():
    rows = re.findall(r"^\| (`[^|]*`) \| (\d+) \|", PAGE, re.M)
    described = {(name, number) for names, number in rows for name in re.findall(r"(\w+)`", names)}
    # EasyRec has these two numbers above 1000 itself.
    own = {
        (field.name, str(field.number))
        for message in MESSAGES.values()
        for field in message.fields
        if field.number >= 1000 and field.name not in ("eval_batch_size", "drop_remainder")
    }
    assert described == own


def test_the_readme_says_first_which_models_are_there() -> None:
    first = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")[1].split())
    there, to_come = re.search(r"the model classes (.*?)\. Not supported yet: (.*?);", first, re.S).groups()
    assert set(re.findall(r"\w+", there)) - {"and"} == set(SPECS)
    assert set(re.findall(r"\w+", to_come)) - {"and"} == set(TO_COME)
