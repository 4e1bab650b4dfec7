"""Feature infos from a table in a config, and the description of an exported model."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.errors import ConfigError, DataError
from hvdrec.tools import add_feature_info_to_config, view_saved_model
from hvdrec.tools.config_files import write_config

TABLE = """feature,feature_info,message
a,"{""embedding_dim"": 6, ""hash_bucket_size"": 77}",
x,"{""embedding_dim"": 3, ""boundary"": [0.5, 1.5]}",ok
tags,"{""embedding_dim"": 6}",DROP IT: too rare
__NUM_STEPS__,"{""num_steps"": 123}",
__DECAY_STEPS__,"{""decay_steps"": 45}",
"""
RATE = "adam_optimizer { learning_rate { exponential_decay_learning_rate { decay_steps: 9 } } }"


def add(folder: pathlib.Path, table: str) -> object:
    (folder / "table.csv").write_text(table)
    SmallJob(folder / "t.csv", folder / "run", optimizer=RATE).write(folder / "a.config")
    arguments = [
        "--template_config_path",
        str(folder / "a.config"),
        "--config_table",
        str(folder / "table.csv"),
    ]
    arguments += ["--output_config_path", str(folder / "b.config")]
    add_feature_info_to_config.run(add_feature_info_to_config.parse(arguments))
    return load(str(folder / "b.config")).proto


def test_a_table_changes_features_and_steps(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = add(tmp_path, TABLE)
    assert "tags: dropped from group deep\n" in capsys.readouterr().out
    features = {f.input_names[0]: f for f in proto.feature_config.features if len(f.input_names) == 1}
    assert (features["a"].embedding_dim, features["a"].hash_bucket_size) == (6, 77)
    assert (features["x"].embedding_dim, list(features["x"].boundaries)) == (3, [0.5, 1.5])
    assert features["b"].embedding_dim == 4
    assert all("tags" not in group.feature_names for group in proto.model_config.feature_groups)
    rate = proto.train_config.optimizer_config[0].adam_optimizer.learning_rate.exponential_decay_learning_rate
    assert (proto.train_config.num_steps, rate.decay_steps) == (123, 45)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("name,feature_info\na,{}\n", "row 1: needs the columns feature, feature_info and message"),
        ("feature,feature_info\na,{\n", "table.csv, row 2: feature_info is not valid JSON"),
        ("feature,feature_info\na,[1]\n", "row 2: feature_info must be a JSON object"),
        ("feature,feature_info\na,{}\n", "row 2: feature_info has no embedding_dim"),
        ('feature,feature_info\na,"{""embedding_dim"": ""x""}"\n', "row 2: embedding_dim can't be 'x'"),
        ('feature,feature_info\na,"{""embedding_dim"": -8}"\n', "row 2: embedding_dim can't be -8"),
        ('feature,feature_info\na,"{""embedding_dim"": 2.5}"\n', r"row 2: embedding_dim can't be 2\.5"),
        (
            'feature,feature_info\nx,"{""embedding_dim"": 2, ""boundary"": [1, NaN]}"\n',
            r"row 2: boundary can't be \[1, nan\]",
        ),
        (
            'feature,feature_info\na,"{""embedding_dim"": 2, ""hash_bucket_size"": 1e30}"\n',
            r"row 2: hash_bucket_size can't be 1e\+30",
        ),
    ],
)
def test_a_table_that_is_not_right_is_told(tmp_path: pathlib.Path, table: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        add(tmp_path, table)


def test_rows_without_a_feature_are_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, f'{TABLE}nobody,"{{""embedding_dim"": 6}}",\n')
    assert "nobody: no feature has this input, ignored" in capsys.readouterr().out


def test_a_dropped_feature_can_be_named_by_its_input(tmp_path: pathlib.Path) -> None:
    SmallJob(tmp_path / "t.csv", tmp_path / "run").write(tmp_path / "a.config")
    config = load(str(tmp_path / "a.config"))
    (feature,) = (f for f in config.proto.feature_config.features if list(f.input_names) == ["tags"])
    feature.feature_name = "words"
    for group in config.proto.model_config.feature_groups:
        group.feature_names[:] = ["words" if name == "tags" else name for name in group.feature_names]
    write_config(config.proto, str(tmp_path / "renamed.config"), "--output_config_path")
    (tmp_path / "table.csv").write_text("feature,feature_info,message\ntags,{},DROP IT\n")
    paths = [str(tmp_path / name) for name in ("renamed.config", "b.config", "table.csv")]
    add_feature_info_to_config.run(add_feature_info_to_config.FeatureInfoFlags(*paths))
    for group in load(paths[1]).proto.model_config.feature_groups:
        assert "words" not in group.feature_names
        assert group.feature_names


def test_all_features_of_a_group_stay(tmp_path: pathlib.Path) -> None:
    dropped = "".join(f"{name},{{}},DROP IT\n" for name in ("a", "b", "c", "tags", "a_x_b"))
    with pytest.raises(
        ConfigError, match=r"feature_groups\[0\]: the table drops all features of group 'deep'"
    ):
        add(tmp_path, f"feature,feature_info,message\n{dropped}")


def test_a_saved_model_is_shown_and_written_as_text(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tf.Module()
    serve = tf.function(
        lambda x: {"probs": x * 2.0}, input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")]
    )
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": serve})
    text, binary = str(tmp_path / "graph.pbtxt"), str(tmp_path / "again.pb")
    for source, target in ((str(tmp_path), text), (text, binary)):
        view_saved_model.run(view_saved_model.parse(["--input", source, "--output", target]))
    shown = capsys.readouterr().out
    assert (
        "signature serving_default\n  inputs\n    x  float32 [?, 3]\n  outputs\n    probs  float32 [?, 3]"
        in shown
    )
    assert (tmp_path / "again.pb").stat().st_size > 1000
    with pytest.raises(ConfigError, match="--input: there is no folder"):
        view_saved_model.run(view_saved_model.parse(["--input", str(tmp_path / "none")]))
    (tmp_path / "bad.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match=r"--input: .*bad.pb can't be read as a SavedModel"):
        view_saved_model.run(view_saved_model.parse(["--input", str(tmp_path / "bad.pb")]))
