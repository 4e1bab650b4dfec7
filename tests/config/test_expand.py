"""`shared_names`, ``name[1-3]``, and which of the two lists of features is in force."""

from __future__ import annotations

import pytest

from hvdrec.config.expand import expand, expand_names, feature_list_path, feature_name
from hvdrec.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f[1-3]", ["f1", "f2", "f3"]),
        ("f[09-11]", ["f9", "f10", "f11"]),
        ("f[7-7]", ["f7"]),
        ("f", ["f"]),
        ("f[1-3]x", ["f[1-3]x"]),
        ("[1-3]", ["[1-3]"]),
        ("f[1-]", ["f[1-]"]),
        ("f[1-2][1-2]", ["f[1-2][1-2]"]),
    ],
)
def test_ranges_of_names(name, expected):
    assert expand_names(name, "x") == expected


@pytest.mark.parametrize("name", ["f[3-1]", "f[0-999999999]"])
def test_ranges_that_make_no_sense(read, name):
    config = read(f'model_config {{\n feature_groups {{ feature_names: "{name}" }} }}')
    with pytest.raises(ConfigError, match=r"x\.config:2: .*feature_names\[0\]: the range in "):
        expand(config)


INPUTS = """
data_config { %s
  input_fields { input_name: "x[1-2]" input_type: DOUBLE default_val: "7" }
  input_fields { input_name: "y" }
}
feature_config {
  features { input_names: "x1" feature_type: RawFeature embedding_dim: 3 shared_names: ["x[2-3]", "y"] }
  features { input_names: "z" }
}
model_config { feature_groups { feature_names: ["z", "x[1-3]"] } }
"""


def names(config) -> tuple[list, list, list]:
    proto = config.proto
    return (
        [f.input_name for f in proto.data_config.input_fields],
        [feature_name(f) for f in proto.feature_config.features],
        list(proto.model_config.feature_groups[0].feature_names),
    )


def test_ranges_in_inputs_and_shared_names_count_when_asked_for(read):
    config = read(INPUTS % "auto_expand_input_fields: true")
    expand(config)
    assert names(config) == (["x1", "x2", "y"], ["x1", "z", "x2", "x3", "y"], ["z", "x1", "x2", "x3"])
    first, second = config.proto.data_config.input_fields[:2]
    assert (first.default_val, second.default_val) == ("7", "7")
    copy = config.proto.feature_config.features[3]
    assert (copy.embedding_dim, copy.feature_type, list(copy.shared_names)) == (3, 1, [])
    # Errors in expanded fields are reported at the line that they were expanded from.
    assert config.line("data_config.input_fields[1].input_type") == 3
    assert config.line("data_config.input_fields[2].input_name") == 4
    assert config.line("feature_config.features[3].embedding_dim") == 7
    assert config.line("feature_config.features[1].input_names") == 8


def test_ranges_in_groups_count_always(read):
    config = read(INPUTS % "")
    expand(config)
    assert names(config) == (["x[1-2]", "y"], ["x1", "z", "x[2-3]", "y"], ["z", "x1", "x2", "x3"])


def test_a_copy_has_a_name_of_its_own(read):
    config = read(
        'feature_configs { feature_name: "q" input_names: "a" embedding_name: "e" shared_names: "b" }'
    )
    expand(config)
    assert [feature_name(f) for f in config.proto.feature_configs] == ["q", "b"]
    assert config.proto.feature_configs[1].embedding_name == "e"


def test_feature_configs_win_when_there_are_any(read):
    both = 'feature_config { features { input_names: "a" } } feature_configs { input_names: "b" }'
    assert feature_list_path(read(both).proto) == "feature_configs"
    assert feature_list_path(read("").proto) == "feature_config.features"


def test_a_chosen_strategy_clears_sync_replicas(read):
    config = read("train_config { sync_replicas: true train_distribute: HorovodStrategy }")
    expand(config)
    assert not config.proto.train_config.sync_replicas
    config = read("train_config { sync_replicas: true }")
    expand(config)
    assert config.proto.train_config.sync_replicas
