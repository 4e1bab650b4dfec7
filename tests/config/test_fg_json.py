"""fg.json: its features are converted as by EasyRec's converter."""

from __future__ import annotations

import json
import pathlib

import pytest

from hvdrec.config import Config, load
from hvdrec.errors import ConfigError


def read(folder: pathlib.Path, content: object, extra: str = "") -> Config:
    path = folder / "fg.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    config = folder / "a.config"
    config.write_text(f'fg_json_path: "{path}" data_config {{ label_fields: ["clk", "buy"] }} {extra}')
    return load(config)


def one(folder: pathlib.Path, **feature: object) -> tuple[object, object]:
    """The input field and the feature of one feature of fg.json."""
    proto = read(folder, {"features": [{"feature_name": "f", **feature}]}).proto
    return proto.data_config.input_fields[-1], proto.feature_config.features[0]


def test_labels_come_first_and_the_path_is_marked(tmp_path: pathlib.Path) -> None:
    features = [{"feature_name": "u", "feature_type": "id_feature", "hash_bucket_size": 9}]
    config = read(tmp_path, {"features": features, "embedding_dim": 4})
    fields = [(f.input_name, f.input_type, f.default_val) for f in config.proto.data_config.input_fields]
    int32, string = 0, 2
    assert fields == [("clk", int32, "0"), ("buy", int32, "0"), ("u", string, "")]
    assert config.proto.feature_config.features[0].embedding_dim == 4
    assert config.proto.fg_json_path == f"!{tmp_path / 'fg.json'}"
    assert config.where("feature_config.features[0].embedding_dim").startswith(str(tmp_path / "fg.json"))


def test_a_marked_path_is_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.config"
    path.write_text('fg_json_path: "!nowhere/fg.json" data_config { input_fields { input_name: "u" } }')
    proto = load(path).proto
    assert [f.input_name for f in proto.data_config.input_fields] == ["u"]


def test_written_features_stay_in_front(tmp_path: pathlib.Path) -> None:
    features = [{"feature_name": "u", "feature_type": "id_feature", "hash_bucket_size": 9}]
    proto = read(
        tmp_path,
        {"features": features},
        """feature_config { features { feature_name: "own" input_names: ["u", "clk"] feature_type: ComboFeature } }
        feature_configs { input_names: "gone" }""",
    ).proto
    assert [f.feature_name or f.input_names[0] for f in proto.feature_config.features] == ["own", "u"]
    assert not proto.feature_configs


@pytest.mark.parametrize(
    ("feature", "field", "config"),
    [
        (
            {"feature_type": "id_feature", "hash_bucket_size": 9, "embedding_dim": 8},
            "input_type: STRING",
            'feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 9 combiner: "mean"',
        ),
        (
            {
                "feature_type": "id_feature",
                "num_buckets": 9,
                "is_multi": True,
                "kv_separator": ":",
                "combiner": "sum",
            },
            'input_type: STRING default_val: "0"',
            'feature_type: TagFeature embedding_dim: 16 num_buckets: 9 kv_separator: ":" combiner: "sum"',
        ),
        (
            {"feature_type": "id_feature", "vocab_list": ["a", "b"], "shared_name": "s"},
            "",
            'feature_type: IdFeature embedding_dim: 16 vocab_list: ["a", "b"] combiner: "mean" embedding_name: "s"',
        ),
        (
            {"feature_type": "raw_feature"},
            'input_type: DOUBLE default_val: "0.0"',
            "feature_type: RawFeature",
        ),
        (
            {"feature_type": "raw_feature", "value_dimension": 3, "default_value": "1"},
            'input_type: STRING default_val: "1"',
            "feature_type: RawFeature raw_input_dim: 3",
        ),
        (
            {"feature_type": "raw_feature", "boundaries": [1, 2.5], "embedding_dimension": 4},
            'input_type: DOUBLE default_val: "0.0"',
            "feature_type: RawFeature boundaries: [1, 2.5] embedding_dim: 4",
        ),
        (
            {"feature_type": "raw_feature", "bucketize_boundaries": "1,2,3"},
            "input_type: INT32",
            "feature_type: IdFeature num_buckets: 4 embedding_dim: 16",
        ),
        (
            {"feature_type": "lookup_feature", "hash_bucket_size": 9, "needWeighting": True},
            "",
            'feature_type: TagFeature hash_bucket_size: 9 embedding_dim: 16 kv_separator: "\\005" combiner: "mean"',
        ),
        (
            {
                "feature_type": "match_feature",
                "needDiscrete": False,
                "matchType": "multihit",
                "value_dimension": 2,
            },
            'input_type: STRING default_val: "0.0"',
            "feature_type: RawFeature raw_input_dim: 2",
        ),
        (
            {"feature_type": "combo_feature", "hash_bucket_size": 9},
            "",
            'feature_type: TagFeature hash_bucket_size: 9 embedding_dim: 16 combiner: "mean"',
        ),
        (
            {"feature_type": "overlap_feature", "method": "query_common_ratio", "num_buckets": 10},
            'default_val: "0"',
            'feature_type: IdFeature num_buckets: 10 embedding_dim: 16 combiner: "mean"',
        ),
        (
            {"feature_type": "overlap_feature", "method": "diff_word_divided", "hash_bucket_size": 10},
            "",
            'feature_type: TagFeature hash_bucket_size: 10 embedding_dim: 16 combiner: "mean"',
        ),
    ],
)
def test_kinds_of_features(tmp_path: pathlib.Path, feature: dict, field: str, config: str) -> None:
    expected = tmp_path / "expected.config"
    expected.write_text(
        f"""data_config {{ input_fields {{ input_name: "f" {field} }} }}
        feature_config {{ features {{ input_names: "f" separator: "\\003" {config} }} }}"""
    )
    proto = load(expected).proto
    found_field, found = one(tmp_path, **feature)
    # An input_type that isn't written is STRING either way.
    assert str(found_field).replace("input_type: STRING\n", "") == str(
        proto.data_config.input_fields[0]
    ).replace("input_type: STRING\n", "")
    assert found == proto.feature_config.features[0]


def test_sequences_are_named_after_their_group(tmp_path: pathlib.Path) -> None:
    parts = [
        {"feature_name": "item", "feature_type": "id_feature", "hash_bucket_size": 9},
        {"feature_name": "price", "feature_type": "raw_feature", "value_dimension": 2, "boundaries": [1]},
    ]
    proto = read(tmp_path, {"features": [{"sequence_name": "clicks", "features": parts}]}).proto
    items, prices = proto.feature_config.features
    sequence, raw = 5, 1
    assert [items.input_names[0], prices.input_names[0]] == ["clicks_item", "clicks_price"]
    assert items.feature_type == prices.feature_type == sequence
    assert (items.hash_bucket_size, items.combiner) == (9, "mean")
    assert (prices.sub_feature_type, prices.raw_input_dim, list(prices.boundaries)) == (raw, 2, [1])


def test_a_cross_that_is_made_at_training(tmp_path: pathlib.Path) -> None:
    proto = read(
        tmp_path,
        {
            "features": [
                {"feature_name": "a", "feature_type": "id_feature", "hash_bucket_size": 9},
                {
                    "feature_name": "b",
                    "feature_type": "id_feature",
                    "hash_bucket_size": 9,
                    "extra_combo_info": {"feature_names": ["a"], "hash_bucket_size": 99, "embedding_dim": 2},
                },
            ]
        },
    ).proto
    cross = proto.feature_config.features[2]
    assert (cross.feature_name, list(cross.input_names)) == ("combo__b_a", ["b", "a"])
    assert (cross.hash_bucket_size, cross.embedding_dim, cross.combiner) == (99, 2, "mean")
    assert [f.input_name for f in proto.data_config.input_fields] == ["clk", "buy", "a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"fg\.json:1:2: "),
        ("[]", r'expected \{"features": \[\.\.\.\]\}'),
        ({"features": [1]}, "expected objects, found 1"),
        ({"features": [{"feature_type": "id_feature"}]}, "a feature has no feature_name"),
        ({"features": [{"feature_name": "f"}]}, "feature_type must be a string"),
        (
            {"features": [{"feature_name": "f", "feature_type": "sparse"}]},
            "feature 'f': feature_type 'sparse' is not supported; use one of id_feature",
        ),
        (
            {"features": [{"feature_name": "f", "feature_type": "id_feature"}]},
            "feature 'f': set one of hash_bucket_size, vocab_file",
        ),
        (
            {"features": [{"feature_name": "f", "feature_type": "id_feature", "hash_bucket_size": "9"}]},
            'hash_bucket_size must be a whole number, is "9"',
        ),
        (
            {"features": [{"feature_name": "f", "feature_type": "id_feature", "filter_freq": "3"}]},
            'filter_freq must be a whole number, is "3"',
        ),
        (
            {"features": [{"feature_name": "f", "feature_type": "id_feature", "steps_to_live": 2**64}]},
            "steps_to_live must be a whole number, is 18446744073709551616",
        ),
        (
            {"features": [{"feature_name": "f", "feature_type": "raw_feature", "boundaries": ["x"]}]},
            "feature 'f': boundaries must be numbers",
        ),
    ],
)
def test_what_cannot_be_converted(tmp_path: pathlib.Path, content: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.config'}:1: fg_json_path: {tmp_path / 'fg.json'}")


def test_a_missing_file_is_told(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.config"
    path.write_text('\nfg_json_path: "nowhere.json"')
    with pytest.raises(
        ConfigError, match=r"a\.config:2: fg_json_path: nowhere\.json: can't be read: No such file"
    ):
        load(path)
