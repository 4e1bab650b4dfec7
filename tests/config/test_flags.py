"""The flags, and the resulting config."""

from __future__ import annotations

import os
import pathlib

import pytest
from small_job import SmallJob

from hvdrec.config import save
from hvdrec.config.flags import (
    load_for_eval,
    load_for_export,
    load_for_predict,
    load_for_training,
    parse_eval,
    parse_export,
    parse_predict,
    parse_train,
)
from hvdrec.errors import ConfigError


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(SmallJob(pathlib.Path("rows.csv"), tmp_path / "run").write(tmp_path / "x.config"))


def trained(path: str, *flags: str):
    return load_for_training(parse_train(["--pipeline_config_path", path, *flags])).proto


def test_flags_replace_fields(path):
    proto = trained(
        path,
        *("--model_dir", "m", "--train_input_path", "a", "b", "--eval_input_path", "c"),
        *("--selected_cols", "label,a", "--fine_tune_checkpoint", "f/model.ckpt-5", "--seed", "7"),
    )
    assert (proto.model_dir, proto.train_input_path, proto.eval_input_path) == ("m", "a,b", "c")
    assert proto.data_config.selected_cols == "label,a"
    assert (proto.train_config.fine_tune_checkpoint, proto.train_config.seed) == ("f/model.ckpt-5", 7)


def test_input_paths_go_where_the_config_has_them(path):
    parquet = ("--data_config.input_type=ParquetInput", '--edit_config_json={"parquet_train_input": "x"}')
    assert (
        trained(path, "--data_config.input_type=ParquetInput").WhichOneof("train_path") == "train_input_path"
    )
    assert trained(path, *parquet).parquet_train_input == "x"
    text = pathlib.Path(path).read_text().replace("train_input_path", "parquet_train_input")
    pathlib.Path(path).write_text(text.replace("CSVInput", "ParquetInput"))
    assert trained(path, "--train_input_path", "a", "b").parquet_train_input == "a,b"
    pathlib.Path(path).write_text(
        text.replace('parquet_train_input: "rows.csv"', 'kafka_train_input { server: "k" }')
    )
    proto = trained(path, "--train_input_path", "a")
    assert (proto.WhichOneof("train_path"), proto.train_input_path) == ("train_input_path", "a")


@pytest.mark.parametrize(
    "flags",
    [
        ["--train_config.num_steps=9"],
        ["--train_config.num_steps", "9"],
        ["--train_config.num_steps", '"9"'],
        ["--train_config.num_steps= 9 "],
        ["--train_config.num_steps=8", "--train_config.num_steps=9"],
        ["--edit_config_json", '{"train_config.num_steps": 8}', "--train_config.num_steps=9"],
        ["--train_config.num_steps=9", "--edit_config_json", '{"train_config.num_steps": 8}'],
    ],
    ids=" ".join,
)
def test_fields_as_flags(path, flags):
    assert trained(path, *flags).train_config.num_steps == 9


def test_fields_as_flags_take_selectors_and_any_value(path):
    selector = "--feature_config.features[input_names[0]=y].max_val=5"
    assert trained(path, selector).feature_config.features[6].max_val == 5
    assert trained(path, "--data_config.separator=;").data_config.separator == ";"
    assert trained(path, "--data_config.separator", "' '").data_config.separator == " "
    assert trained(path, "--model_dir=a=b").model_dir == "a=b"
    assert trained(path, "--eval_config.num_examples=5").eval_config.num_examples == 5


def test_edits_beat_flags(path):
    proto = trained(path, "--model_dir", "m", "--edit_config_json", '{"model_dir": "n"}')
    assert proto.model_dir == "n"


def test_a_file_of_parameters_comes_last(path, tmp_path):
    file = tmp_path / "hpo.json"
    file.write_text('{"param": {"train_config.num_steps": 7, "feature_config.features[0].embedding_dim": 4}}')
    assert (
        trained(path, "--train_config.num_steps=9", "--hpo_param_path", str(file)).train_config.num_steps == 7
    )
    for written, problem in {
        '{"param":\n {"train_config.num_stepz": 7}}': "--hpo_param_path: train_config.num_stepz: TrainConfig has no",
        '{"param":\n': r"hpo\.json:2:1: Expecting value",
        "[]": r"hpo\.json: expected .* found \[\]",
        '{"param": 5}': "expected .* found",
    }.items():
        file.write_text(written)
        with pytest.raises(ConfigError, match=problem):
            trained(path, "--hpo_param_path", str(file))
    with pytest.raises(ConfigError, match=r"none\.json: can't be read: No such file"):
        trained(path, "--hpo_param_path", str(tmp_path / "none.json"))


def test_both_save_fields(path):
    with pytest.raises(ConfigError, match="save_checkpoints_steps is set too"):
        trained(path, "--train_config.save_checkpoints_secs=60")
    edits = '{"train_config.save_checkpoints_secs": 60, "train_config.save_checkpoints_steps": null}'
    train_config = trained(path, "--edit_config_json", edits).train_config
    assert train_config.save_checkpoints_secs == 60
    assert not train_config.HasField("save_checkpoints_steps")
    assert train_config.save_checkpoints_steps == 1000


def test_the_written_config_leads_to_the_same(path, tmp_path):
    flags = ["--pipeline_config_path", path, "--train_config.num_steps=9", "--model_dir", str(tmp_path / "m")]
    config = load_for_training(parse_train(flags))
    written = save(config, config.proto.model_dir)
    assert written == str(tmp_path / "m" / "pipeline.config")
    again = load_for_training(parse_train(["--pipeline_config_path", written]))
    assert again.proto == config.proto
    assert sorted(os.listdir(tmp_path / "m")) == ["pipeline.config", "version"]


def test_a_config_that_cant_be_written(path, tmp_path):
    config = load_for_training(parse_train(["--pipeline_config_path", path]))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"model_dir: .*file/pipeline\.config can't be written"):
        save(config, tmp_path / "file")


WRONG = {
    "": "--pipeline_config_path: is missing",
    "--modl_dir x": "--modl_dir: there is no such flag; did you mean --model_dir?",
    "--train_confg.num_steps=3": "did you mean --train_config.<path>?",
    "--continue_train=true": "--continue_train: takes no value, found 'true'",
    "--seed x": "--seed: expected an integer of at least 0, found 'x'",
    "--model_dir": "--model_dir: expected one argument",
    "x": "'x' is not a flag",
    chr(0x2013) + "model_dir x": "write --model_dir",
    "--train_config.num_steps": "the value is missing; write --train_config.num_steps=VALUE",
    "--train_config.num_steps[=3": "a ] or a quote is missing",
    "--pipeline_config_path x --edit_config_json {": "--edit_config_json: not valid JSON",
    "--pipeline_config_path x --train_input_path": "--train_input_path: expected at least one argument",
    "--pipeline_config_path x --eval_input_path": "--eval_input_path: expected at least one argument",
    "--pipeline_config_path x --train_input_path=": "--train_input_path: is empty; give a path, or leave",
    "--pipeline_config_path x --train_input_path a , b": "--train_input_path: is empty",
    "--pipeline_config_path x --model_dir=": "--model_dir: is empty; give a path, or leave the flag out",
    "--train_config {num_steps:3}": "--train_config: there is no such flag; write --train_config.<path>=VALUE",
    "--gpu abc": "--gpu: expected different numbers or UUIDs of devices as 0,1, or -1 for none, found 'abc'",
    "--gpu 0,0": "found '0,0'",
    "--gpu 0,": "found '0,'",
    "--gpu 0;1": "found '0;1'",
    "--is_on_ds": "--is_on_ds: works only on Alibaba's platforms",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_wrong_flags(arguments):
    with pytest.raises(ConfigError) as error:
        parse_train(arguments.split(" ") if arguments else [])
    assert WRONG[arguments] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["0", "1,0", "-1", "", "GPU-8f6d1f4a,MIG-GPU-8f6d1f4a/0/1"])
def test_devices_as_cuda_takes_them(given):
    assert parse_train(["--pipeline_config_path", "x", "--gpu", given]).gpu == given


def test_an_empty_input_is_told_by_eval():
    with pytest.raises(ConfigError, match="--eval_input_path: is empty; give a path"):
        parse_eval(["--model_dir", "x", "--eval_input_path="])


def test_an_empty_argument_is_told():
    with pytest.raises(ConfigError, match="'' is not a flag"):
        parse_train([""])


def test_all_wrong_flags_and_edits_are_told(path):
    with pytest.raises(ConfigError) as error:
        parse_train(
            ["--pipeline_config_path", path, "--num_steps=3", "--frobnicate", "1", "--modle_dir", "x"]
        )
    steps, other, third = str(error.value).split("\n")
    assert steps == "--num_steps: there is no such flag; did you mean --train_config.num_steps?"
    assert "--frobnicate: there is no such flag" in other
    assert "did you mean --model_dir" in third
    wrong = ["--train_config.num_stepz=1", "--edit_config_json", '{"data_config.x": 1, "train_config.y": 2}']
    with pytest.raises(ConfigError) as error:
        load_for_training(parse_train(["--pipeline_config_path", path, *wrong]))
    lines = str(error.value).split("\n")
    assert len(lines) == 3
    assert all(
        name in line for name, line in zip(["data_config", "train_config", "stepz"], lines, strict=True)
    )


def test_a_missing_fine_tune_checkpoint_is_left_out_when_allowed(path, tmp_path):
    flags = ["--fine_tune_checkpoint", str(tmp_path / "none"), "--ignore_finetune_ckpt_error"]
    config = load_for_training(parse_train(["--pipeline_config_path", path, *flags]))
    assert config.proto.train_config.fine_tune_checkpoint == ""
    assert any("training starts from scratch" in warning for warning in config.warnings)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "model.ckpt-1.index").write_text("")
    config = load_for_training(parse_train(["--pipeline_config_path", path, *flags]))
    assert config.proto.train_config.fine_tune_checkpoint == str(tmp_path / "none")


def test_eval_and_predict_take_model_dirs_own_config(path, tmp_path):
    model_dir = tmp_path / "model"
    save(
        load_for_training(parse_train(["--pipeline_config_path", path, "--eval_input_path", "e"])), model_dir
    )
    flags = parse_eval(["--model_dir", str(model_dir), "--eval_input_path", "f", "g"])
    proto = load_for_eval(flags).proto
    assert (proto.model_dir, proto.eval_input_path) == (str(model_dir), "f,g")
    rest = ["--input_path", "i", "--output_path", "o", "--input_type", "CSVInputV2"]
    config = load_for_predict(parse_predict(["--model_dir", str(model_dir), *rest]))
    assert config.proto.data_config.input_type == 11
    assert load_for_eval(
        parse_eval(["--pipeline_config_path", path, "--eval_input_path", "e"])
    ).proto.eval_input_path


def test_a_config_given_by_hand_beats_model_dirs_own(path, tmp_path):
    model_dir = tmp_path / "model"
    save(load_for_training(parse_train(["--pipeline_config_path", path])), model_dir)
    own = ["--model_dir", str(model_dir)]
    text = pathlib.Path(path).read_text()
    other = tmp_path / "other.config"
    other.write_text(text.replace("hidden_units: [8]", "hidden_units: [6]"))
    rows = ["--input_path", "i", "--output_path", "o"]
    for load, parse, more in (
        (load_for_eval, parse_eval, ["--eval_input_path", "e"]),
        (load_for_predict, parse_predict, rows),
        (load_for_export, parse_export, ["--export_dir", "d"]),
    ):
        config = load(parse([*own, "--pipeline_config_path", str(other), *more]))
        assert config.proto.model_config.deepfm.final_dnn.hidden_units == [6]
        assert config.proto.model_dir == str(model_dir)
        with pytest.raises(ConfigError, match=r"nowhere\.config: can't be read"):
            load(parse([*own, "--pipeline_config_path", "nowhere.config", *more]))


def test_eval_and_predict_need_a_config(tmp_path):
    with pytest.raises(ConfigError, match="--model_dir: is missing"):
        load_for_eval(parse_eval([]))
    with pytest.raises(ConfigError, match=r"pipeline\.config: can't be read"):
        load_for_eval(parse_eval(["--model_dir", str(tmp_path)]))
    with pytest.raises(ConfigError, match="--input_path: is missing"):
        parse_predict(["--output_path", "o"])
