"""How messages show names and values."""

from __future__ import annotations

import pytest

from hvdrec.config.config import Config, is_within, parent_path
from hvdrec.config.names import find_field, hint, listed, one_line, type_name
from hvdrec.config.protos import feature_config_pb2, loss_pb2, train_pb2
from hvdrec.config.report import Report
from hvdrec.config.values import shown, to_scalar

TRAIN = train_pb2.TrainConfig.DESCRIPTOR


def test_fields_are_found_by_their_names():
    assert find_field(TRAIN, "num_steps").name == "num_steps"
    assert find_field(TRAIN, "numSteps").name == "num_steps"
    assert find_field(loss_pb2.Loss.DESCRIPTOR, "f1_reweight_loss").name == "f1_reweighted_loss"
    assert find_field(TRAIN, "f1_reweight_loss") is None


def test_hints():
    assert hint("num_step", ["num_steps", "seed"]) == "did you mean num_steps?"
    assert hint("SEED", ["num_steps", "seed"]) == "did you mean seed?"
    assert hint("num", ["num_steps", "num_gpus"]) == "did you mean num_steps or num_gpus?"
    assert hint("zzz", ["a", "b"], "its fields are") == "its fields are: a, b"
    assert hint("zzz", []) == "there are: none"
    assert listed(map(str, range(20))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more"


def test_a_report_gives_a_limited_number_of_searched_hints():
    report = Report(Config(None, "x"))
    hints = [report.hint("stepz", ["steps", "b"]) for _ in range(200)]
    assert hints[0] == "did you mean steps?"
    assert hints[-1] == "there are: steps, b"


def test_types_in_words():
    assert type_name(TRAIN.fields_by_name["num_steps"]) == "a non-negative integer (uint32)"
    assert type_name(TRAIN.fields_by_name["optimizer_config"]) == "an Optimizer message"
    assert type_name(feature_config_pb2.FeatureGroupConfig.DESCRIPTOR.fields_by_name["wide_deep"]).startswith(
        "a WideOrDeep (DEEP, WIDE"
    )


def test_texts_of_the_user_are_shown_on_one_line():
    assert one_line("a\nb\tc") == "a b c"
    assert one_line("x" * 300) == "x" * 200 + "..."
    assert one_line(chr(27) + "[31m") == "\\x1b[31m"
    assert one_line(chr(0xD800)) == "\\ud800"
    assert shown({"a": "x" * 100}) == '{"a": "' + "x" * 73 + "..."
    assert shown({1, 2}) == "{1, 2}"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_steps", 5, 5),
        ("num_steps", "5", 5),
        ("num_steps", "5e2", 500),
        ("num_steps", 5.0, 5),
        ("num_steps", 5.5, None),
        ("num_steps", True, None),
        ("num_steps", -1, None),
        ("num_steps", 2**32, None),
        ("num_steps", "9" * 500, None),
        ("num_steps", "inf", None),
        ("num_steps", [], None),
        ("num_gpus_per_worker", -(2**31), -(2**31)),
        ("num_gpus_per_worker", 2**31, None),
        ("seed", 2**64 - 1, 2**64 - 1),
        ("seed", str(2**64 - 1), 2**64 - 1),
        ("gradient_clipping_by_norm", "0.5", 0.5),
        ("gradient_clipping_by_norm", 3, 3.0),
        ("gradient_clipping_by_norm", 1e39, None),
        ("gradient_clipping_by_norm", 10**400, None),
        ("gradient_clipping_by_norm", False, None),
        ("sync_replicas", "true", True),
        ("sync_replicas", 0, False),
        ("sync_replicas", 2, None),
        ("sync_replicas", 1.0, None),
        ("fine_tune_checkpoint", 5, "5"),
        ("fine_tune_checkpoint", None, None),
        ("fine_tune_checkpoint", chr(0xD800), None),
        ("train_distribute", "HorovodStrategy", 6),
        ("train_distribute", " 6 ", 6),
        ("train_distribute", 99, None),
        ("train_distribute", "horovodstrategy", None),
        ("train_distribute", True, None),
        ("train_distribute", 6.0, None),
    ],
)
def test_values_of_fields(name, value, expected):
    field = TRAIN.fields_by_name[name]
    if expected is None:
        with pytest.raises(ValueError, match=r"expected|has no value"):
            to_scalar(field, value)
    else:
        found = to_scalar(field, value)
        assert (found, type(found)) == (expected, type(expected))


def test_places_of_fields():
    config = Config(None, "x.config", {"a": 1, "a.b[0]": 2, "a.b[0].c": "--a.b[0].c", "d": "--edit"})
    assert config.where("a.b[0]") == "x.config:2: a.b[0]"
    assert config.where("a.b[0].other") == "x.config:2: a.b[0].other"
    assert config.where("a.b[1]") == "x.config:1: a.b[1]"
    assert config.where("a.b[0].c") == "--a.b[0].c"
    assert config.where("d") == "--edit: d"
    assert config.where("e") == "x.config: e"
    config.changed("a.b", "--edit")
    assert config.where("a.b[0].c") == "--edit: a.b[0].c"
    assert config.line("a") == 1
    assert (parent_path("a.b[0]"), parent_path("a.b"), parent_path("a")) == ("a.b", "a", "")
    assert is_within("a.b[0]", "a.b")
    assert not is_within("a.bc", "a.b")
