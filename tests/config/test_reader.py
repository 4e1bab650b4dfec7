"""Reading text protos and JSON, and the errors for files that can't be read."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from google.protobuf import json_format

from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_golden_configs_are_read_and_right(shared):
    paths = sorted((shared / "golden").glob("*/pipeline.config"))
    assert len(paths) >= 3
    for path in paths:
        config = load(path)
        expand(config)
        check(config)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.config")), ids=lambda p: p.name)
def test_the_projects_configs_are_read_and_right(path):
    config = load(path)
    expand(config)
    check(config)


def blocks(page: str) -> list[str]:
    """The text protos of the training page: the content of braces, with the field before them."""
    found, start, depth = [], 0, 0
    for match in re.finditer(r"[{}]", page):
        if match[0] == "{":
            if not depth:
                start = match.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                found.append(page[start : match.end()])
    return found


def test_the_training_pages_loss_configs_are_read(shared, read):
    page = (shared / "reference" / "easyrec_training_page.txt").read_text(encoding="utf-8")
    # The page's first block, an optimizer, lacks a brace.
    page = page[page.index("save_summary_steps:") :]
    single = [b for b in blocks(page) if "loss_type" in b]
    assert len(single) == 4
    model = read(f"model_config {single[0]}").proto.model_config
    assert (
        model.DESCRIPTOR.fields_by_name["loss_type"].enum_type.values_by_number[model.loss_type].name
        == "L2_LOSS"
    )
    for block in single[1:]:
        losses = read(f"model_config {{ losses {block} }}").proto.model_config.losses
        if "f1_" in block:
            assert losses[0].f1_reweighted_loss.f1_beta_square == 0.5625


OPTIMIZER_OF_THE_PAGE = """
train_config { log_step_count_steps: 200 # lines
  optimizer_config
  {
    adam_optimizer: {
      learning_rate: {
         exponential_decay_learning_rate {
            initial_learning_rate: 0.0001
            decay_steps: 100000
            decay_factor: 0.5
            min_learning_rate: 0.0000001
         }
    } }
  }
}
"""


def test_colons_before_messages(read):
    optimizer = read(OPTIMIZER_OF_THE_PAGE).proto.train_config.optimizer_config[0]
    assert optimizer.adam_optimizer.learning_rate.exponential_decay_learning_rate.decay_steps == 100000


def test_both_spellings_of_the_f1_loss(read):
    for name in ("f1_reweighted_loss", "f1_reweight_loss"):
        text = f"model_config {{ losses {{ loss_type: F1_REWEIGHTED_LOSS {name} {{ f1_beta_square: 2 }} }} }}"
        (loss,) = read(text).proto.model_config.losses
        assert loss.f1_reweighted_loss.f1_beta_square == 2
        value = {"modelConfig": {"losses": [{"loss_type": "F1_REWEIGHTED_LOSS", name: {"f1BetaSquare": 2}}]}}
        (loss,) = read(json.dumps(value), "x.json").proto.model_config.losses
        assert loss.f1_reweighted_loss.f1_beta_square == 2
    config = read("model_dir: 'f1_reweight_loss' # f1_reweight_loss")
    assert config.proto.model_dir == "f1_reweight_loss"


def test_the_last_value_counts_messages_merge_and_lists_grow(read):
    config = read(
        'model_dir: "a"\ntrain_config { num_steps: 1 }\nmodel_dir: "b"\ntrain_config { num_steps: 2 '
        'save_summary_steps: 3 }\ndata_config { label_fields: "x" }\ndata_config { label_fields: ["y", "z"] }'
    )
    assert config.proto.model_dir == "b"
    assert config.proto.train_config.num_steps == 2
    assert config.proto.train_config.save_summary_steps == 3
    assert list(config.proto.data_config.label_fields) == ["x", "y", "z"]
    assert config.line("model_dir") == 3
    assert config.line("data_config.label_fields[2]") == 6


def test_no_field_is_required(read):
    assert read("model_config { losses { weight: 2 } }").proto.model_config.losses[0].weight == 2
    assert read("").proto.ListFields() == []


@pytest.mark.parametrize("names", [True, False])
def test_json_gives_what_the_text_gives(read, example, names):
    text = read(example)
    written = json_format.MessageToJson(text.proto, preserving_proto_field_name=names)
    config = read(written, "x.json")
    assert config.proto == text.proto
    where = next(i for i, line in enumerate(written.splitlines(), 1) if re.search("num_?[sS]teps", line))
    assert config.where("train_config.num_steps") == f"{config.path}:{where}: train_config.num_steps"


TEXT_MISTAKES = {
    "train_config {\n  num_steps: 5\n": (2, "the file ends inside train_config { (line 1): a } is missing"),
    "train_config {\n num_steps: 5\ndata_config {}\n}": (
        3,
        "it is a field of EasyRecConfig: is a } missing above?",
    ),
    "train_config {}\n}": (2, "one } too many?"),
    "train_config { num_stepz: 5 }": (1, "TrainConfig has no field 'num_stepz'; did you mean num_steps?"),
    'model_dir: "abc\n': (1, "String missing ending quote"),
    "model_dir: abc": (1, "model_dir: Expected string"),
    "train_config { num_steps: -5 }": (1, "num_steps: Value out of range: -5"),
    "\ntrain_config { train_distribute: Horovod }": (2, "did you mean HorovodStrategy?"),
    "// no\n": (1, "a comment begins with #"),
    '{"model_dir": "x"}': (1, "write JSON into a file named .json"),
    'model_dir: "\\xff"': (1, "model_dir: Couldn't parse string"),
}


@pytest.mark.parametrize("text", TEXT_MISTAKES)
def test_mistakes_in_text_are_told_with_their_place(read, text):
    line, problem = TEXT_MISTAKES[text]
    with pytest.raises(ConfigError) as error:
        read(text)
    assert re.match(rf".*x\.config:{line}:\d+: ", str(error.value))
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


JSON_MISTAKES = {
    '{\n"model_dir": }': (2, "Expecting value"),
    '{\n"a": 1}': (2, 'EasyRecConfig has no field "a"'),
    '{"train_config": {\n"num_stepz": 1}}': (2, "did you mean num_steps?"),
    '{"train_config": {\n\n"num_steps": "x"}}': (3, 'expected a non-negative integer (uint32), found "x"'),
    '{"train_config": {"num_steps": ' + "9" * 5000 + "}}": (1, "expected a non-negative integer"),
    '{"model_dir": "a",\n "model_dir": "b"}': (2, 'the key "model_dir" is listed twice'),
    '{"train_input_path": "a",\n"parquet_train_input": "b"}': (
        2,
        "only one of train_input_path and parquet_train_input",
    ),
    '{"train_config": {"optimizer_config": {}}}': (1, "expected a list, each element an Optimizer message"),
    "[]": (1, "expected fields of EasyRecConfig, found []"),
    "[" * 100_000: (0, "nested too deeply"),
}


@pytest.mark.parametrize("text", JSON_MISTAKES, ids=lambda t: t[:30])
def test_mistakes_in_json_are_told_with_their_place(read, text):
    line, problem = JSON_MISTAKES[text]
    with pytest.raises(ConfigError) as error:
        read(text, "x.json")
    assert re.match(rf".*x\.json:{line}:" if line else r".*x\.json: ", str(error.value))
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cant_be_read(tmp_path):
    for name, problem in {
        "x.yaml": "the file name of a config must end in",
        "missing.config": "can't be read: No such file or directory",
        "folder.config": "can't be read: Is a directory",
        "latin.config": "latin.config:1: not UTF-8 text (byte 12 of the file)",
        "nul\0.config": "can't be read",
    }.items():
        (tmp_path / "folder.config").mkdir(exist_ok=True)
        (tmp_path / "latin.config").write_bytes(b'model_dir: "\xe9"')
        with pytest.raises(ConfigError) as error:
            load(f"{tmp_path}/{name}")
        assert problem in str(error.value)


def test_a_byte_order_mark_is_left_out(tmp_path):
    (tmp_path / "x.config").write_bytes(b'\xef\xbb\xbfmodel_dir: "x"')
    assert load(tmp_path / "x.config").proto.model_dir == "x"


MANY_MISTAKES = """
train_config {
  num_stepz: 5  # num_stepz { }
  log_step_count_steps: abc
  optimizer_config { adam_optimiser { learning_rate { x: 1 } } use_moving_average: maybe }
}
data_config { input_type: CSVInputt
  input_fieldz { input_name: "}" "x" }
}
model_config { model_class: "DeepFM" feature_groups { wide_deep: DEEEP } layers: [1, 2] }
"""
FOUND = [
    (3, "TrainConfig has no field 'num_stepz'"),
    (4, "log_step_count_steps: Couldn't parse integer: abc"),
    (5, "Optimizer has no field 'adam_optimiser'"),
    (5, 'use_moving_average: Expected "true" or "false"'),
    (7, "input_type: InputType has no value 'CSVInputt'"),
    (8, "DatasetConfig has no field 'input_fieldz'"),
    (10, "WideOrDeep has no value 'DEEEP'"),
    (10, "EasyRecModel has no field 'layers'"),
]


def test_all_mistakes_in_text_are_told_at_once(read):
    with pytest.raises(ConfigError) as error:
        read(MANY_MISTAKES)
    told = str(error.value).split("\n")
    assert len(told) == len(FOUND)
    for line, (place, problem) in zip(told, FOUND, strict=True):
        assert re.match(rf".*x\.config:{place}:\d+: ", line)
        assert problem in line


def test_all_mistakes_in_json_are_told_at_once(read):
    with pytest.raises(ConfigError) as error:
        read(
            '{"trainConfig": {"numStepz": 5,\n "log_step_count_steps": "abc"},\n'
            '"data_config": {"inputFields": [{"input_name": "a"},\n {"inputname": ["b"]}]}}',
            "x.json",
        )
    told = [re.match(r".*x\.json:(\d+): (.*)", line).groups() for line in str(error.value).split("\n")]
    assert [line for line, _ in told] == ["1", "2", "4"]
    assert 'has no field "numStepz"' in told[0][1]
    assert "log_step_count_steps: expected" in told[1][1]
    assert 'input_fields[1]: Field has no field "inputname"' in told[2][1]
