"""Features that share a table must agree on whether it has a fixed size."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan

_MODEL = (
    'model_config {{ model_class: "DCN" {} dcn {{}} '
    'feature_groups {{ group_name: "all" feature_names: ["a", "b"] }} }}'
)


def _config(first: str, second: str, model: str) -> pipeline_pb2.EasyRecConfig:
    text = 'data_config { input_fields { input_name: "label" input_type: INT32 } label_fields: "label" '
    for name in "ab":
        text += f'input_fields {{ input_name: "{name}" input_type: STRING }} '
    text += "} feature_config { "
    for name, own in (("a", first), ("b", second)):
        text += f'features {{ input_names: "{name}" hash_bucket_size: 50 embedding_dim: 4 embedding_name: "e" {own} }} '
    return text_format.Parse(f"{text} }} {_MODEL.format(model)}", pipeline_pb2.EasyRecConfig())


@pytest.mark.parametrize(
    ("first", "second", "model"),
    [
        ("ev_params {}", "", ""),
        ("", "ev_params {}", ""),
        ("ev_params {}", "", "ev_params { filter_freq: 5 }"),
        ("ev_params { filter_freq: 2 }", "ev_params { filter_freq: 3 }", ""),
    ],
)
def test_other_rules_are_refused(first: str, second: str, model: str) -> None:
    with pytest.raises(
        ConfigError, match="feature 'b': ev_params: differs from that of 'a', with which it sh"
    ):
        build_plan(_config(first, second, model))


@pytest.mark.parametrize("first", ["", "ev_params { filter_freq: 5 }"])
def test_the_model_s_rules_are_those_of_features_without(first: str) -> None:
    plan = build_plan(_config(first, "", "ev_params { filter_freq: 5 }"))
    assert [(t.rules is not None and t.rules.filter_freq) for bank in plan.banks for t in bank.tables] == [5]
