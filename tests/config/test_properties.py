"""Any change to a config, an edit or a flag gives a config or one clear error, never a crash."""

from __future__ import annotations

import json
import math
import pathlib
import re

import pytest
from config.forms import as_json, as_text
from config.generate import NAMES, messages, mutilated, mutilated_values, odd_values, paths
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from small_job import MODELS, SmallJob

from hvdrec.config import Config, load, save
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.config.protos import pipeline_pb2
from hvdrec.errors import ConfigError
from hvdrec.features import build_plan

EXAMPLES = {m: SmallJob(pathlib.Path("rows.csv"), pathlib.Path("run"), model=m).text() for m in MODELS}
#: Names of fields and values, and of the message that a file is.
FIELDS = {*NAMES, "EasyRecConfig"}
MORE = settings(max_examples=150, deadline=None)
FEWER = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("configs")


#: Errors of the protobuf text parser name what they met, at its place.
_SYNTAX = re.compile(r"Expected |Couldn't |the file ends inside |messages are nested too deeply|Invalid ")
#: Missing things have no line.
_MISSING = re.compile(r"is missing|is empty|needs a label|above 0|not UTF-8")


def outcome(path: pathlib.Path, *flags: str) -> None:
    """Gets a config, or an error that is as it should be; anything else fails the test.

    It names the file, a place in it that is there, and a field of the protos or what the parser met.
    """
    try:
        config = load_for_training(parse_train(["--pipeline_config_path", str(path), *flags]))
    except ConfigError as error:
        lines = path.read_text(encoding="utf-8").split("\n")
        for line in str(error).split("\n"):
            assert not re.search(r"<google|object at 0x|Traceback|hvdrec\.protos", line)
            found = re.match(rf"{re.escape(str(path))}(?::(\d+))?(?::(\d+))?: (.+)", line)
            if found is None:
                assert re.match(r"--|and \d+ more|.* is not a flag|.*: there is no such flag", line)
                continue
            number, column, problem = int(found[1] or 0), int(found[2] or 0), found[3]
            assert number <= len(lines)
            assert column <= len(lines[number - 1]) + 1
            assert number or flags or _MISSING.search(problem)
            named = FIELDS & set(re.findall(r"\w+", problem))
            assert named or (number and _SYNTAX.match(problem)), line
        return
    # What the check lets pass can be compiled.
    assert build_plan(config.proto).fields


PROTOS = {m: text_format.Merge(text, pipeline_pb2.EasyRecConfig()) for m, text in EXAMPLES.items()}
VALUES = {
    model: json_format.MessageToDict(message, preserving_proto_field_name=True)
    for model, message in PROTOS.items()
}


@MORE
@given(data=st.data())
def test_mutilated_texts(folder, data):
    written = data.draw(mutilated(EXAMPLES[data.draw(st.sampled_from(list(MODELS)))]))
    path = folder / "x.config"
    path.write_text(written, encoding="utf-8")
    outcome(path)


@MORE
@given(data=st.data())
def test_mutilated_json(folder, data):
    value = data.draw(mutilated_values(VALUES[data.draw(st.sampled_from(list(MODELS)))]))
    path = folder / "x.json"
    path.write_text(json.dumps(value, indent=data.draw(st.sampled_from([None, 1]))), encoding="utf-8")
    outcome(path)


@MORE
@given(edits=st.dictionaries(paths(), odd_values, min_size=1, max_size=3), cut=st.integers(0, 200))
def test_odd_edits(folder, edits, cut):
    path = folder / "edited.config"
    path.write_text(EXAMPLES["DeepFM"], encoding="utf-8")
    written = json.dumps(edits)
    outcome(path, "--edit_config_json", written[:cut] if cut < 20 else written)


_FLAG_VALUES = st.text(max_size=5) | st.sampled_from(["1", "{}", "[1, 2]", "a;b", '"x"', "", "--x"])


@MORE
@given(path=paths(), value=_FLAG_VALUES, joined=st.booleans())
def test_odd_flags(folder, path, value, joined):
    file = folder / "flags.config"
    file.write_text(EXAMPLES["DeepFM"], encoding="utf-8")
    outcome(file, *([f"--{path}={value}"] if joined else [f"--{path}", value]))


@FEWER
@given(message=messages(pipeline_pb2.EasyRecConfig))
def test_any_message_is_read_back_as_it_was_written(folder, message):
    if message.fg_json_path:
        # Without the mark it names a file that is read too.
        message.fg_json_path = f"!{message.fg_json_path}"
    again = load(save(Config(message, "x.config"), folder / "model"))
    assert again.proto == message
    written = folder / "again.json"
    written.write_text(json_format.MessageToJson(message), encoding="utf-8")
    assert load(written).proto == message


@FEWER
@given(message=messages(pipeline_pb2.EasyRecConfig))
def test_any_message_is_checked_without_a_crash(message):
    config = Config(message, "x.config")
    problems = ""
    try:
        expand(config)
        check(config)
    except ConfigError as error:
        problems = str(error)
    # No message this strategy makes is a whole config.
    assert problems
    assert all(line.startswith(("x.config: ", "and ")) for line in problems.split("\n"))


@FEWER
@given(message=messages(pipeline_pb2.EasyRecConfig))
def test_expanding_twice_changes_nothing_more(message):
    config = Config(message, "x.config")
    expand(config)
    once = pipeline_pb2.EasyRecConfig()
    once.CopyFrom(config.proto)
    expand(config)
    assert config.proto == once


@FEWER
@given(
    message=messages(pipeline_pb2.EasyRecConfig) | st.sampled_from([*PROTOS.values()]),
    choose=st.randoms(use_true_random=False),
)
def test_every_form_of_a_config_means_the_same(folder, message, choose):
    """Order of fields, blanks, comments, braces, quotes, lists, enums by number; text and JSON."""
    if message.fg_json_path:
        # Without the mark it names a file that is read too.
        message.fg_json_path = f"!{message.fg_json_path}"
    for form, name in ((as_text(message, choose), "form.config"), (as_json(message, choose), "form.json")):
        path = folder / name
        path.write_text(form.text, encoding="utf-8")
        config = load(path)
        assert config.proto == message
        assert config.origins == form.lines


def test_numbers_survive_writing(tmp_path):
    config = Config(pipeline_pb2.EasyRecConfig(), "x.config")
    config.proto.train_config.gradient_clipping_by_norm = math.pi
    config.proto.feature_config.features.add().boundaries[:] = [math.pi, 1e-300, 0.1]
    assert load(save(config, tmp_path)).proto == config.proto
