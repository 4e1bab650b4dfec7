"""What is refused or warned about in attention to histories: `sequence_features`, and models that attend."""

from __future__ import annotations

import re

import pytest
from models.histories import text

from hvdrec.errors import ConfigError

_HEAD = """model_class: "DCN"
  feature_groups { group_name: "all" wide_deep: DEEP feature_names: ["u", "i", "c"]
    sequence_features { group_name: "s" seq_att_map { key: "i" hist_seq: "h" } } }"""
SEQUENCES = text(
    f"""{_HEAD} dcn {{ deep_tower {{ input: "all" dnn {{ hidden_units: 4 }} }}
      cross_tower {{ input: "all" cross_num: 1 }} final_dnn {{ hidden_units: 4 }} l2_regularization: 0 }}"""
)
BST = text(
    """model_class: "MultiTowerBST" feature_groups { group_name: "all" wide_deep: DEEP feature_names: "u" }
    seq_att_groups { group_name: "one" seq_att_map { key: "i" hist_seq: "h" } }
    seq_att_groups { group_name: "two" seq_att_map { key: "c" hist_seq: "k" } }
    multi_tower { towers { input: "all" dnn { hidden_units: 4 } }
      bst_towers { input: "one" seq_len: 3 multi_head_size: 2 }
      bst_towers { input: "two" seq_len: 5 multi_head_size: 2 }
      final_dnn { hidden_units: 4 } l2_regularization: 0 }"""
)
AUTOINT = text(
    _HEAD.replace("DCN", "AutoInt")
    + """autoint { multi_head_num: 1 multi_head_size: 4 interacting_layer_num: 1 l2_regularization: 0
      easyrec_scale: false }"""
)
PDN = text(
    """model_class: "PDN"
    feature_groups { group_name: "user" wide_deep: DEEP feature_names: "u" }
    feature_groups { group_name: "item" wide_deep: DEEP feature_names: "i" }
    feature_groups { group_name: "u2i_seq" feature_names: "r" }
    feature_groups { group_name: "i_seq" feature_names: "h" }
    feature_groups { group_name: "i2i_seq" feature_names: "k" }
    pdn { user_dnn { hidden_units: 4 } item_dnn { hidden_units: 4 } u2i_dnn { hidden_units: 4 }
      i2i_dnn { hidden_units: 4 } trigger_dnn { hidden_units: 1 } sim_dnn { hidden_units: 1 }
      easyrec_similarity: false }"""
)
MAP = 'seq_att_map { key: "i" hist_seq: "h" }'
WIDE = "feature_groups[0].sequence_features[0]"
DIRECT = "direct_user_dnn { hidden_units: 3 }"


def combined(combiner: str) -> str:
    return text(
        """model_class: "MultiTower" feature_groups { group_name: "all" wide_deep: DEEP feature_names: ["u", "t"] }
        multi_tower { towers { input: "all" dnn { hidden_units: 4 } } final_dnn { hidden_units: 4 }
          l2_regularization: 0 }""",
        f"sequence_combiner {{ {combiner} }}" if combiner else "",
    )


def text_cnn(filters: str = "[3, 3]", length: int = 4) -> str:
    return f"text_cnn {{ filter_sizes: [1, 2] num_filters: {filters} pad_sequence_length: {length} }}"


@pytest.mark.parametrize("config", [combined(text_cnn()), SEQUENCES, BST, AUTOINT, PDN])
def test_good(checked, config: str) -> None:
    assert not [w for w in checked(config).warnings if "model_config" in w]


@pytest.mark.parametrize(
    ("config", "old", "new", "path", "problem"),
    [
        (SEQUENCES, 'group_name: "s"', "", WIDE, "group_name is missing"),
        (SEQUENCES, MAP, f'{MAP} }} sequence_features {{ group_name: "s" {MAP}', "feature_groups[0].sequence_features[1].group_name", "'s' is already the name of model_config.feature_groups[0].sequence_features[0]"),
        (SEQUENCES, "wide_deep: DEEP", "wide_deep: WIDE", WIDE, "a group with wide_deep: WIDE can't use attention"),
        (SEQUENCES, 'key: "i"', 'key: "items"', f"{WIDE}.seq_att_map[0].key[0]", "no feature is named 'items'"),
        (SEQUENCES, 'key: "i"', 'key: "k"', f"{WIDE}.seq_att_map[0].key[0]", "'k' is a sequence; a key must have one value per row"),
        (SEQUENCES, 'hist_seq: "h"', 'hist_seq: "c"', f"{WIDE}.seq_att_map[0].hist_seq[0]", "'c' must have feature_type: SequenceFeature"),
        (SEQUENCES, '["u", "i", "c"]', '"u"', f"{WIDE}.seq_att_map[0].key[0]", "'i' is not in the same feature group; add it to that group, or set allow_key_search: true"),
        (SEQUENCES, 'hist_seq: "h"', 'hist_seq: ["h", "k"]', WIDE, "keys and histories must have the same width: i (4), h (4) + k (4) = 8"),
        (SEQUENCES, MAP, "", WIDE, "seq_att_map has no key"),
        (SEQUENCES, MAP, f"{MAP} seq_dnn {{ hidden_units: [4, 2] }}", f"{WIDE}.seq_dnn.hidden_units", "must end with 1"),
        (SEQUENCES, MAP, f'{MAP} seq_dnn {{ hidden_units: 1 activation: "rely" }}', f"{WIDE}.seq_dnn.activation", "'rely' is not known; did you mean relu or relu6?"),
        (BST, 'hist_seq: "k"', 'hist_seq: ["k", "h"]', "seq_att_groups[1]", "must have the same width"),
        (BST, 'key: "c" hist_seq: "k"', 'key: ["c", "i"] hist_seq: ["k", "h"]', "multi_tower.bst_towers", "share the weights of their attention, so all of them need histories of the same width, found 4 and 8"),
        (BST, "seq_len: 5 multi_head_size: 2", "seq_len: 5 multi_head_size: 4", "multi_tower.bst_towers[1].multi_head_size", "all of them need the same multi_head_size, found 4 and 2"),
        (BST, 'input: "two"', 'input: "too"', "multi_tower.bst_towers[1].input", "no group of seq_att_groups is named 'too'; did you mean two?"),
        (BST, "seq_len: 3", "seq_len: 0", "multi_tower.bst_towers[0].seq_len", "must be at least 1"),
        (BST, 'key: "i" hist_seq: "h"', 'key: "i" hist_seq: "h" aux_hist_seq: "k"', "seq_att_groups[0].seq_att_map[0].aux_hist_seq", "is not used by bst_towers"),
        (BST, '"MultiTowerBST"', '"MultiTowerDIN"', "multi_tower.bst_towers", 'applies only to model_class: ' '"MultiTowerBST"'),
        (AUTOINT, 'key: "i" hist_seq: "h"', 'key: "i" hist_seq: "r"', "feature_groups", "must have the same embedding_dim in AutoInt: u has 4, r has 3"),
        (AUTOINT, "wide_deep: DEEP", "wide_deep: WIDE", "feature_groups", "needs group 'all' with wide_deep: DEEP"),
        (PDN, 'feature_names: "h"', 'feature_names: "c"', "feature_groups[3].feature_names[0]", "'c' must have feature_type: SequenceFeature"),
        (PDN, 'feature_names: "u"', 'feature_names: "h"', "feature_groups[0].feature_names[0]", "'h' is a sequence; set its sequence_combiner, or make it a TagFeature"),
        (PDN, 'feature_names: "h" }', f'feature_names: "h" sequence_features {{ group_name: "s" {MAP} allow_key_search: true }} }}', "feature_groups[3].sequence_features[0]", "PDN reads the sequences of this group directly; remove"),
        (PDN, "u2i_dnn { hidden_units: 4 }", "u2i_dnn { hidden_units: 3 }", "pdn.u2i_dnn.hidden_units", "must end with the width of user_dnn, 4, is 3"),
        (PDN, "i2i_dnn { hidden_units: 4 }", "i2i_dnn { hidden_units: 3 }", "pdn.i2i_dnn.hidden_units", "must end with the width of item_dnn, 4, is 3"),
        (PDN, "sim_dnn { hidden_units: 1 }", "sim_dnn { hidden_units: 2 }", "pdn.sim_dnn.hidden_units", "must end with 1"),
        (PDN, "sim_dnn {", f"{DIRECT} sim_dnn {{", "pdn.direct_user_dnn", "direct_user_dnn and direct_item_dnn must be set together"),
        (PDN, "sim_dnn {", f"{DIRECT} direct_item_dnn {{ hidden_units: 2 }} sim_dnn {{", "pdn.direct_item_dnn.hidden_units", "must end with the width of direct_user_dnn, 3, is 2"),
        (PDN, "sim_dnn {", "bias_dnn { hidden_units: 1 } sim_dnn {", "feature_groups", "bias_dnn needs a group"),
        (PDN, '"PDN"', '"PDN" loss_type: L2_LOSS', "loss_type", "PDN needs one of CLASSIFICATION, is L2_LOSS"),
    ],
)  # fmt: skip
def test_refused(checked, config: str, old: str, new: str, path: str, problem: str) -> None:
    assert old in config
    with pytest.raises(ConfigError) as error:
        checked(config.replace(old, new, 1))
    place = rf".*model_config\.{re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.match(place, line) for line in str(error.value).split("\n")), error.value


_FEATURE = "feature_config.features[5].sequence_combiner"


@pytest.mark.parametrize(
    ("config", "path", "problem"),
    [
        (combined(""), "model_config.feature_groups[0].feature_names[1]", "'t' is a sequence; set its sequence_combiner"),
        (combined(" "), _FEATURE, "is empty; write attention {} or text_cnn {} into it"),
        (combined("multi_head_attention {}"), f"{_FEATURE}.multi_head_attention", "is not supported, here or in EasyRec"),
        (combined(text_cnn("3")), f"{_FEATURE}.text_cnn.num_filters", "has 1 numbers for 2 filter_sizes"),
        (combined(text_cnn(length=1)), f"{_FEATURE}.text_cnn.pad_sequence_length", "must be at least the largest of filter_sizes (2), is 1"),
    ],
)  # fmt: skip
def test_combiners_that_are_refused(checked, config: str, path: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked(config)
    place = rf".*{re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.match(place, line) for line in str(error.value).split("\n")), error.value


@pytest.mark.parametrize(
    ("config", "old", "new", "path", "problem"),
    [
        (SEQUENCES, MAP, f'seq_att_map {{ key: "i" hist_seq: "h" aux_hist_seq: "k" }} {MAP}', f"{WIDE}.seq_att_map[0].aux_hist_seq", "has an effect only in the last seq_att_map"),
        (SEQUENCES, MAP, f"{MAP} transform_dnn: true", f"{WIDE}.transform_dnn", "has no effect without allow_key_transform"),
        (BST, '"one" seq', '"one" need_key_feature: false seq', "seq_att_groups[0].need_key_feature", "has no effect on bst_towers"),
        (AUTOINT, "easyrec_scale: false", "", "autoint", "set easyrec_scale: true for a checkpoint of EasyRec"),
        (PDN, "easyrec_similarity: false", "", "pdn", "set easyrec_similarity: true for a checkpoint of EasyRec"),
        (PDN, 'feature_groups { group_name: "u2i_seq"', 'feature_groups { group_name: "bias" feature_names: "c" } feature_groups { group_name: "u2i_seq"', "feature_groups", "group 'bias' has no effect without pdn.bias_dnn"),
    ],
)  # fmt: skip
def test_told(checked, config: str, old: str, new: str, path: str, problem: str) -> None:
    assert old in config
    (warning,) = [w for w in checked(config.replace(old, new, 1)).warnings if "model_config" in w]
    assert f"model_config.{path}: " in warning
    assert problem in warning
