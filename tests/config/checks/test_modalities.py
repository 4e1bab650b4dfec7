"""What is refused or warned about in images and texts as tokens."""

from __future__ import annotations

import re

import pytest
from models.histories import text

from hvdrec.errors import ConfigError

GROUPS = """feature_groups { group_name: "image" wide_deep: DEEP feature_names: "i" }
    feature_groups { group_name: "general" wide_deep: DEEP feature_names: ["u", "c"] }
    feature_groups { group_name: "text" feature_names: "h" }"""
TOWER = """multi_head_num: 2 image_head_size: 4 text_head_size: 4 image_cross_head_size: 2
    text_cross_head_size: 2 image_self_attention_layer_num: 1 max_position_embeddings: 5"""
TRANSFORMER = """hidden_size: 4 num_hidden_layers: 1 num_attention_heads: 2 intermediate_size: 3
    max_position_embeddings: 5"""
CMBF = text(f"""model_class: "CMBF" {GROUPS}
    cmbf {{ config {{ {TOWER} }} final_dnn {{ hidden_units: 4 }} }}""")
UNITER = text(f"""model_class: "Uniter" {GROUPS}
    uniter {{ config {{ {TRANSFORMER} }} final_dnn {{ hidden_units: 4 }} }}""")
TASKS = """task_towers { tower_name: "ctr" label_name: "label" dnn { hidden_units: 4 } metrics_set { auc {} } }
    l2_regularization: 0"""
BOTTOM = text(f'model_class: "DBMTL" {GROUPS} dbmtl {{ bottom_cmbf {{ {TOWER} }} {TASKS} }}')
OTHER_BOTTOM = text(f'model_class: "DBMTL" {GROUPS} dbmtl {{ bottom_uniter {{ {TRANSFORMER} }} {TASKS} }}')


@pytest.mark.parametrize("config", [CMBF, UNITER, BOTTOM, OTHER_BOTTOM])
def test_good(checked, config: str) -> None:
    told = [w for w in checked(config).warnings if "model_config" in w]
    assert not told


@pytest.mark.parametrize(
    ("config", "old", "new", "path", "problem"),
    [
        (CMBF, GROUPS, 'feature_groups { group_name: "all" feature_names: "u" }', "feature_groups", "needs one of the groups 'image', 'general', 'text', 'other'"),
        (CMBF, '["u", "c"]', '["u", "tokens"]', "feature_groups[1].feature_names[1]", "no feature is named 'tokens'"),
        (CMBF, '"text" feature_names: "h"', '"text" feature_names: "u"', "feature_groups", "group 'text' can contain only SequenceFeatures; 'u' is IdFeature"),
        (CMBF, '"image" wide_deep: DEEP', '"image" wide_deep: WIDE', "feature_groups", "group 'image' must be wide_deep: DEEP"),
        (CMBF, "multi_head_num: 2", "multi_head_num: 3", "cmbf.config.multi_head_num", "3 heads can't divide image_head_size times image_multi_head_num (4 columns) evenly"),
        (CMBF, "multi_head_num: 2", "multi_head_num: 0", "cmbf.config.multi_head_num", "must be at least 1"),
        (CMBF, TOWER, f"{TOWER} image_feature_patch_num: 3", "cmbf.config.image_feature_patch_num", "'i' has 4 numbers, not a multiple of 3"),
        (CMBF, "max_position_embeddings: 5", "max_position_embeddings: 4", "cmbf.config.max_position_embeddings", "is 4, but the feature 'h' has max_seq_len: 5"),
        (CMBF, "max_position_embeddings: 5", "", "cmbf.config.max_position_embeddings", "must be above 0"),
        (CMBF, '"text" feature_names: "h"', '"text" feature_names: "k"', "cmbf.config.max_position_embeddings", "the feature 'k' of group 'text' needs max_seq_len, at most 5"),
        (CMBF, TOWER, f"{TOWER} hidden_dropout_prob: 1", "cmbf.config.hidden_dropout_prob", "must be at least 0 and below 1"),
        (UNITER, "num_attention_heads: 2", "num_attention_heads: 3", "uniter.config.num_attention_heads", "3 heads can't divide hidden_size (4 columns) evenly"),
        (UNITER, TRANSFORMER, f'{TRANSFORMER} hidden_act: "gely"', "uniter.config.hidden_act", "'gely' is not known; did you mean gelu"),
        (UNITER, 'feature_names: "h"', 'feature_names: "k"', "uniter.config.max_position_embeddings", "needs max_seq_len"),
        (UNITER, 'feature_names: "i"', f"feature_names: {list('uic')}", "uniter.config.max_position_embeddings", "must be above 0"),
        (BOTTOM, '"text" feature_names: "h"', '"text" feature_names: "k"', "dbmtl.bottom_cmbf.max_position_embeddings", "needs max_seq_len"),
        (OTHER_BOTTOM, "num_attention_heads: 2", "num_attention_heads: 3", "dbmtl.bottom_uniter.num_attention_heads", "3 heads can't divide"),
    ],
)  # fmt: skip
def test_refused(checked, config: str, old: str, new: str, path: str, problem: str) -> None:
    assert old in config
    changed = config.replace(old, new, 1)
    if problem == "must be above 0" and "uniter" in path:
        changed = changed.replace("max_position_embeddings: 5", "max_position_embeddings: 0")
    with pytest.raises(ConfigError) as error:
        checked(changed)
    place = rf".*model_config\.{re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.match(place, line) for line in str(error.value).split("\n")), error.value


@pytest.mark.parametrize(
    ("config", "old", "new", "path", "problem"),
    [
        (CMBF, "image_self_attention_layer_num: 1", "image_feature_patch_num: 2", "cmbf.config.image_feature_patch_num", "has an effect only on a single image"),
        (CMBF, "image_self_attention_layer_num: 1", "image_feature_dim: 2", "cmbf.config.image_feature_dim", "has an effect only on a single uncut image"),
        (BOTTOM, "bottom_cmbf {", "bottom_dnn { hidden_units: 4 } bottom_cmbf {", "dbmtl.bottom_dnn", "has no effect together with bottom_cmbf, as in EasyRec"),
    ],
)  # fmt: skip
def test_told(checked, config: str, old: str, new: str, path: str, problem: str) -> None:
    assert old in config
    told = checked(config.replace(old, new, 1)).warnings
    assert any(f"model_config.{path}: " in w and problem in w for w in told), told
