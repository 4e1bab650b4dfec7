"""What is refused in `kd`, in losses over sessions, and in ESMM and RocketLaunching."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob

from hvdrec.errors import ConfigError

TEXT = SmallJob(
    pathlib.Path("rows.csv"), pathlib.Path("run"), data_extra='label_fields: "weight"', metrics=""
).text()
KD = 'kd { loss_type: KL_DIVERGENCE_LOSS pred_name: "logits" soft_label_name: "weight" }'


def with_model(text: str) -> str:
    return TEXT.replace("model_config {", f"model_config {{ {text}", 1)


@pytest.mark.parametrize(
    "text",
    [
        KD,
        KD.replace("logits", "probs").replace("}", "pred_is_logits: false }"),
        'kd { loss_type: PAIR_WISE_LOSS pred_name: "logits" soft_label_name: "weight" pairwise_loss { session_name: "c" } }',
        'losses { loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { session_name: "c" transform_fn: "tf.math.log1p" } }',
        'num_class: 2 losses { loss_type: JRC_LOSS jrc_loss { session_name: "c" } } losses { loss_type: CLASSIFICATION }',
        "num_class: 3 loss_type: ZILN_LOSS",
    ],
)
def test_good(checked, text: str) -> None:
    checked(with_model(text))


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        (KD.replace("logits", "logit"), "kd[0].pred_name", "did you mean logits"),
        (KD.replace("weight", "label2"), "kd[0].soft_label_name", "is not among data_config.label_fields"),
        (KD.replace("KL_DIVERGENCE", "CIRCLE"), "kd[0].loss_type", "CIRCLE_LOSS can't be used for distillation; use one of"),
        (KD.replace("KL_DIVERGENCE", "JRC"), "kd[0].loss_type", "JRC_LOSS needs 2 numbers per row, has 1"),
        (f"num_class: 3 {KD}", "kd[0].soft_label_name", "'weight' has label_dim 1, but the prediction has 3 numbers"),
        (KD.replace("}", "pairwise_loss {} }"), "kd[0].pairwise_loss", "it has no parameters"),
        (f"{KD} {KD}", "kd[1]", "two losses are named 'kd_loss_logits_weight'"),
        (KD.replace("}", 'task_space_indicator_name: "c" }'), "kd[0].task_space_indicator_name", "it must be STRING"),
        ("num_class: 2 losses { loss_type: JRC_LOSS }", "losses", "JRC_LOSS needs jrc_loss { session_name"),
        ("loss_type: JRC_LOSS", "loss_type", "JRC_LOSS needs num_class: 2, is 1"),
        (
            'num_class: 2 losses { loss_type: JRC_LOSS jrc_loss { session_name: "c" loss_weight_strategy: "best" } }',
            "losses[0].jrc_loss.loss_weight_strategy",
            "'best' is not one of fixed, random_uniform",
        ),
        (
            'losses { loss_type: LISTWISE_RANK_LOSS listwise_rank_loss { transform_fn: "os.system" } }',
            "losses[0].listwise_rank_loss.transform_fn",
            "'os.system' is not known; use one of tf.math.abs",
        ),
        (
            "num_class: 3 losses { loss_type: ZILN_LOSS } losses { loss_type: CLASSIFICATION }",
            "losses",
            "ZILN_LOSS uses amounts as labels, so it can't be combined with other losses; remove CLASSIFICATION",
        ),
        ("loss_type: ORDER_CALIBRATE_LOSS", "loss_type", "applies only to model class DBMTL"),
    ],
)  # fmt: skip
def test_refused(checked, text: str, path: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked(with_model(text))
    lines = str(error.value).split("\n")
    assert any(f"model_config.{path}: " in line and problem in line for line in lines), error.value


TOWER = 'tower_name: "{0}" label_name: "{1}" dnn {{ hidden_units: 4 }}'
ESMM = (
    'model_config { model_class: "ESMM" feature_groups { group_name: "all" feature_names: ["a", "b"] wide_deep: DEEP } '
    f"esmm {{ ctr_tower {{ {TOWER.format('ctr', 'label')} }} cvr_tower {{ {TOWER.format('cvr', 'weight')} }} }} }}"
)
ROCKET = (
    'model_config { model_class: "RocketLaunching" num_class: 2 '
    'feature_groups { group_name: "all" feature_names: ["a", "b"] wide_deep: DEEP } rocket_launching { '
    "share_dnn { hidden_units: 8 } booster_dnn { hidden_units: 8 } light_dnn { hidden_units: 8 } "
    "feature_based_distillation: true } }"
)

DSSM = (
    'model_config { model_class: "DSSM" loss_type: SOFTMAX_CROSS_ENTROPY '
    'feature_groups { group_name: "user" feature_names: "a" wide_deep: DEEP } '
    'feature_groups { group_name: "item" feature_names: "b" wide_deep: DEEP } dssm { '
    'user_tower { id: "a" dnn { hidden_units: 4 } } item_tower { id: "b" dnn { hidden_units: 4 } } simi_func: COSINE } }'
)


def with_block(block: str) -> str:
    before, _, rest = TEXT.partition("model_config {")
    depth, end = 1, 0
    while depth:
        depth += {"{": 1, "}": -1}.get(rest[end], 0)
        end += 1
    return before + block + rest[end:]


def test_good_models(checked) -> None:
    checked(with_block(ESMM))
    checked(with_block(ROCKET))


@pytest.mark.parametrize(
    ("block", "old", "new", "path", "problem"),
    [
        (ESMM, "group_name: \"all\"", "group_name: \"every\"", "esmm.groups", "no group of feature_groups is named 'all'"),
        (ESMM, 'tower_name: "cvr"', 'tower_name: "ctcvr"', "esmm.cvr_tower.tower_name", "is reserved for the product of both towers"),
        (ESMM, 'tower_name: "ctr"', 'tower_name: "ctr" loss_type: L2_LOSS', "esmm.ctr_tower.loss_type", "needs CLASSIFICATION, is L2_LOSS"),
        (ESMM, 'tower_name: "ctr"', 'tower_name: "ctr" losses { loss_type: CLASSIFICATION }', "esmm.ctr_tower.losses", "one loss per tower"),
        (ESMM, "esmm {", f"{KD} esmm {{", "kd", "ESMM does not support knowledge distillation"),
        (DSSM, "dssm {", f"{KD} dssm {{", "kd", "list-wise matching models compare a row's user with all items"),
        (ROCKET, "light_dnn { hidden_units: 8", "light_dnn { hidden_units: 7", "rocket_launching.feature_based_distillation", "nothing to compare"),
        (ROCKET, "feature_based", "feature_distillation_function: INNER_PRODUCT feature_based", "rocket_launching.feature_distillation_function", "must be COSINE or EUCLID"),
        (ROCKET, "num_class: 2", "loss_type: L2_LOSS", "loss_type", "needs CLASSIFICATION, is L2_LOSS"),
    ],
)  # fmt: skip
def test_refused_models(checked, block: str, old: str, new: str, path: str, problem: str) -> None:
    assert old in block
    with pytest.raises(ConfigError) as error:
        checked(with_block(block.replace(old, new, 1)))
    lines = str(error.value).split("\n")
    assert any(f"model_config.{path}: " in line and problem in line for line in lines), error.value
