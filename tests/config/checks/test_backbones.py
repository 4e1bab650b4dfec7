"""What is refused or warned about in models with backbones."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import pytest
from small_job import SmallJob

from hvdrec.config import Config
from hvdrec.errors import ConfigError

Load = Callable[..., Config]
RIGHT = SmallJob(pathlib.Path("rows.csv"), pathlib.Path("run"), model="RankModel").text()
TOWERS = """model_params { task_towers { tower_name: "one" label_name: "label" }
  task_towers { tower_name: "two" label_name: "label" %s } }"""
PARAMS = "model_params { l2_regularization: 1e-4 }"


def tasks(second: str = "", outputs: str = "") -> str:
    """The job as a MultiTaskModel."""
    text = RIGHT.replace('model_class: "RankModel"', 'model_class: "MultiTaskModel"')
    text = text.replace(PARAMS, TOWERS % second)
    return re.sub(r"top_mlp \{[^}]*\}", "", text.replace("concat_blocks:", outputs)) if outputs else text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('model_class: "RankModel"', 'model_class: "DeepFM"', "model_config: model_class DeepFM needs a block deepfm {}"),
        (PARAMS, "", "model_config: model_class RankModel needs a block model_params {}, found none"),
        ('class_name: "FM"', 'class_name: "MF"', "blocks[1].keras_layer.class_name: there is no layer 'MF'"),
        ('input_slice: "[1]"', 'input_slice: "[0]"', "blocks[1].keras_layer: needs a list of features"),
        ('input_slice: "[1]"', 'input_slice: "[5]"', "blocks[1].inputs[0].input_slice: character 1: index 5 is out of range for a list of 2"),
        ("tf.sigmoid(x[1])", "tf.sigmoid(x[2])", "blocks[3].lambda.expression: character"),
        ("tf.sigmoid(x[1])", "print(x)", "the function 'print' is not among those allowed"),
        ('concat_blocks: ["fm",', 'concat_blocks: ["mf",', "backbone.concat_blocks[0]: no block is named 'mf'; there are: features, fm, "),
    ],
)  # fmt: skip
def test_refused(checked: Load, old: str, new: str, said: str) -> None:
    assert old in RIGHT
    with pytest.raises(ConfigError) as caught:
        checked(RIGHT.replace(old, new))
    assert said in str(caught.value)


def test_right_ones_have_no_warnings(checked: Load) -> None:
    assert not [w for w in checked(RIGHT).warnings if "model_config" in w]
    checked(tasks())
    checked(tasks('relation_tower_names: "one" relation_dnn { hidden_units: 4 }'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (tasks('relation_tower_names: "three"'), "'three' is not a tower listed before 'two'; there are one"),
        (tasks(outputs="output_blocks:"), "model_config.backbone: returns 3 outputs for 2 task_towers"),
        (tasks().replace('tower_name: "two"', 'tower_name: "one"'), "two towers are named 'one'"),
    ],
)
def test_towers_that_do_not_fit(checked: Load, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(text)
    assert said in str(caught.value)


def test_what_has_no_effect_is_warned_of(checked: Load) -> None:
    text = RIGHT.replace(PARAMS, "model_params { l2_regularization: 1e-4 temperature: 0.1 }")
    assert any("model_params.temperature: has no effect on RankModel" in w for w in checked(text).warnings)


def test_wide_groups_need_a_width(checked: Load) -> None:
    wide = RIGHT.replace("wide_deep: DEEP", "wide_deep: WIDE")
    assert wide != RIGHT
    with pytest.raises(ConfigError, match="is wide_deep: WIDE; give a block input_layer"):
        checked(wide)


def test_other_classes_have_no_backbone(checked: Load, example: str) -> None:
    block = 'backbone { blocks { name: "b" inputs { feature_group_name: "deep" } } } deepfm {'
    with pytest.raises(ConfigError, match="DeepFM has no backbone of blocks; use model_class"):
        checked(example.replace("deepfm {", block, 1))
