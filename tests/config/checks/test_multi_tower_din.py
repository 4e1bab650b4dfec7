"""What is refused in a MultiTowerDIN config."""

from __future__ import annotations

import re

import pytest

from hvdrec.errors import ConfigError

TEXT = """
train_input_path: "rows.csv" eval_input_path: "rows.csv" model_dir: "run"
train_config { num_steps: 1 optimizer_config {
  sgd_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.1 } } } } }
eval_config { metrics_set { auc {} } }
data_config { input_type: CSVInput batch_size: 4 label_fields: "label"
  input_fields { input_name: "label" input_type: INT32 }
  input_fields { input_name: "item" input_type: STRING } input_fields { input_name: "history" input_type: STRING } }
feature_config {
  features { input_names: "item" feature_type: IdFeature hash_bucket_size: 20 embedding_dim: 4 }
  features { input_names: "history" feature_type: SequenceFeature separator: "|" hash_bucket_size: 20
    embedding_dim: 4 } }
model_config {
  model_class: "MultiTowerDIN"
  feature_groups { group_name: "all" feature_names: "item" wide_deep: DEEP }
  seq_att_groups { group_name: "din" seq_att_map { key: "item" hist_seq: "history" } }
  multi_tower {
    towers { input: "all" dnn { hidden_units: [4] } }
    din_towers { input: "din" dnn { hidden_units: [4, 1] } }
    final_dnn { hidden_units: [4] } l2_regularization: 0 } }
"""
DIN = 'din_towers { input: "din" dnn { hidden_units: [4, 1] } }'


def test_good(checked) -> None:
    assert not [w for w in checked(TEXT).warnings if "model_config" in w]
    (warning,) = [
        w
        for w in checked(TEXT.replace('"din" seq', '"din" need_key_feature: false seq')).warnings
        if "model_config" in w
    ]
    assert "seq_att_groups[0].need_key_feature: has no effect" in warning


@pytest.mark.parametrize(
    ("old", "new", "path", "problem"),
    [
        ('input: "din"', 'input: "dim"', "multi_tower.din_towers[0].input", "no group of seq_att_groups is named 'dim'"),
        ("[4, 1]", "[4, 2]", "multi_tower.din_towers[0].dnn.hidden_units", "must end with 1"),
        (DIN, "", "seq_att_groups[0]", "no din_towers has the input 'din'"),
        (DIN, f"{DIN} {DIN}", "multi_tower.din_towers[1].input", "two towers have the input 'din'"),
        ('key: "item"', 'key: "items"', "seq_att_groups[0].seq_att_map[0].key[0]", "did you mean item?"),
        ('key: "item"', "", "seq_att_groups[0]", "seq_att_map has no key"),
        ('key: "item"', 'key: ["item", "item"]', "seq_att_groups[0]", "must have the same width: item (4) + item (4) = 8, history (4)"),
        ('hist_seq: "history"', 'hist_seq: "history" aux_hist_seq: "history"', "seq_att_groups[0].seq_att_map[0].aux_hist_seq", "is not used by din_towers"),
        (DIN, f'{DIN} bst_towers {{ input: "din" }}', "multi_tower.bst_towers", 'applies only to model_class: ' '"MultiTowerBST"'),
    ],
)  # fmt: skip
def test_refused(checked, old: str, new: str, path: str, problem: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as error:
        checked(TEXT.replace(old, new, 1))
    place = rf".*model_config\.{re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.match(place, line) for line in str(error.value).split("\n")), error.value
