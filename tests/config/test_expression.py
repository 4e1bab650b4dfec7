"""Expressions: how they are parsed, what is refused and where, and what EasyRec computes for them."""

from __future__ import annotations

import pathlib

import pytest
from google.protobuf import text_format

from hvdrec.config import Config
from hvdrec.config.checks.expressions import check_expression, easyrec_reading
from hvdrec.config.expression import ExpressionError, Step, parse, tokenize, written
from hvdrec.config.protos import feature_config_pb2, pipeline_pb2
from hvdrec.config.report import Report

NAMES = ("a", "b", "c", "user age", "log", "年")

#: An expression, the same with all its parentheses, and EasyRec's reading where it is another.
READINGS = [
    ("a + b*c - -a/2", "(a + (b * c)) - (-a / 2)", None),
    ("a - b - c", "(a - b) - c", None),
    ("a / b / c", "(a / b) / c", None),
    ("-a*b", "-a * b", None),
    ("a<(b+5)", "a < (b + 5)", None),
    ("(a>=b) & (a<=(b+5))", "(a >= b) & (a <= (b + 5))", None),
    ("((a))==1.5e-3", "a == 0.0015", None),
    ("user age>年", "user age > 年", None),
    ("(a>1)|(b>2)&(c>3)", "(a > 1) | ((b > 2) & (c > 3))", None),
    ("(a > b) == (b > c)", "(a > b) == (b > c)", None),
    ("a>1 & b>2", "(a > 1) & (b > 2)", "((a > 1) & b) > 2"),
    ("a>1 | b>2 & c>3", "(a > 1) | ((b > 2) & (c > 3))", "((((a > 1) | b) > 2) & c) > 3"),
    ("((a>1)|(b>2))&(c>3)", "((a > 1) | (b > 2)) & (c > 3)", "(a > 1) | ((b > 2) & (c > 3))"),
    ("2*(a+b)", "2 * (a + b)", "a + b"),
    ("(a+b)-2", "(a + b) - 2", "-2"),
    ("abs(log)", "abs(log)", "log"),
]


@pytest.mark.parametrize(("text", "whole", "theirs"), READINGS)
def test_precedence(text: str, whole: str, theirs: str | None) -> None:
    found = parse(text, NAMES)
    assert written(found) == whole
    assert parse(whole, NAMES) == found


@pytest.mark.parametrize(("text", "whole", "theirs"), READINGS)
def test_easyrecs_reading(text: str, whole: str, theirs: str | None) -> None:
    reading = easyrec_reading(tokenize(text, NAMES))
    assert reading is not None
    assert written(reading) == (whole if theirs is None else theirs)


@pytest.mark.parametrize("text", ["(a+b)*2", "tf.math.log1p(a) / 10.0"])
def test_what_easyrec_cannot_evaluate(text: str) -> None:
    assert easyrec_reading(tokenize(text, NAMES)) is None


def test_steps_count_the_inputs_that_are_read() -> None:
    found = parse("tf.math.log1p(c) > a - c", NAMES)
    assert found.inputs == ("c", "a")
    assert found.steps == (
        Step("input", 0),
        Step("log1p"),
        Step("input", 1),
        Step("input", 0),
        Step("subtract"),
        Step("greater"),
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "character 1: expected an input, .* found the end"),
        ("a &", "character 4: expected an input, .* found the end"),
        ("a > > b", r"character 5: expected an input, .* found >"),
        ("a>b>c", "character 4: comparisons don't chain"),
        ("(a>1) & b", "character 7: & takes conditions, .* its right is a number"),
        ("-(a>1) | (b>1)", "character 8: | takes conditions, .* its left is a number"),
        ("a**2", r"character 2: \*\* is not an operator: powers are not supported"),
        ("a && b", "character 3: && is not an operator: write &"),
        ("a = 1", "character 3: = is not an operator: write =="),
        ("a != b", "character 3: != is not an operator"),
        ("ab+1", r"character 1: 'ab' is neither a number nor in input_names"),
        ("a b", "character 1: 'a b' is neither"),
        ("a + 1.5.2", r"character 5: '1\.5\.2' is neither"),
        ("(a > 1", r"character 1: this \( is not closed"),
        ("a > 1) & (b > 1)", r"character 6: this \) has no matching"),
        ("(a)(b)", r"character 4: expected an operator here, found \("),
        ("os.system(a)", "character 1: 'os.system' is not a function"),
        ("__import__(a)", "character 1: '__import__' is not a function"),
        ("a(b)", "character 2: expected an operator here"),
        ("1+2", "character 1: it reads none of input_names"),
        ("a > 1e999", "character 5: 1e999 is out of the range"),
        ("(" * 60 + "a" + ")" * 60, "character 51: parentheses are nested more than 50 deep"),
        ("-" * 100_000, "character 100001"),
    ],
)
def test_what_is_refused_says_where(text: str, error: str) -> None:
    with pytest.raises(ExpressionError, match=error):
        parse(text, NAMES)


def test_a_long_expression_is_read() -> None:
    text = " | ".join(f"(a == {i})" for i in range(3000))
    found = parse(text, NAMES)
    assert len(found.steps) == 4 * 3000 - 1
    assert easyrec_reading(tokenize(text, NAMES)) == found


def _checked(feature: str, group: str = "") -> Report:
    proto = pipeline_pb2.EasyRecConfig()
    text_format.Parse(f'model_config {{ model_class: "DCN" {group} }}', proto)
    report = Report(Config(proto, "p.config", {"f.expression": 7, "f": 5}))
    config = text_format.Parse(
        f'feature_name: "e" feature_type: ExprFeature input_names: ["a", "b"] {feature}',
        feature_config_pb2.FeatureConfig(),
    )
    check_expression(report, config, "f", ["INT32", "INT32"])
    return report


@pytest.mark.parametrize(
    ("feature", "error"),
    [
        ("", "p.config:7: f.expression: is missing"),
        ('expression: "a >> b"', "p.config:7: f.expression: 'a >> b', character 4: "),
    ],
)
def test_errors_have_their_line(feature: str, error: str) -> None:
    with pytest.raises(Exception, match=error):
        _checked(feature).close()


def test_a_wide_group_is_refused() -> None:
    group = 'feature_groups { group_name: "w" feature_names: "e" wide_deep: WIDE }'
    with pytest.raises(Exception, match=r"p\.config:5: f: an ExprFeature .* wide group 'w'"):
        _checked('expression: "a > b"', group).close()


def test_what_easyrec_takes_otherwise_is_told() -> None:
    (warning,) = _checked('expression: "a>1 & b>2"').close()
    assert warning == (
        "p.config:7: f.expression: is computed as (a > 1) & (b > 2); EasyRec, "
        "which evaluates from left to right, "
        "reads it as ((a > 1) & b) > 2"
    )
    assert _checked('expression: "(a>1) & (b>2)"').close() == []
    (warning,) = _checked('expression: "a>1" embedding_dim: 4').close()
    assert warning == "p.config:5: f.embedding_dim: has no effect on an ExprFeature, as in EasyRec"


def test_the_golden_config_is_taken_as_it_is() -> None:
    path = pathlib.Path(__file__).resolve().parents[3] / "shared/golden2/expr_feature_taobao/pipeline.config"
    if not path.exists():
        pytest.skip("../shared/golden2 isn't there")
    proto = text_format.Parse(path.read_text(), pipeline_pb2.EasyRecConfig())
    texts = [f.expression for f in proto.feature_config.features if f.expression]
    assert len(texts) == 5
    for text in texts:
        tokens = tokenize(text, ("age_level", "item_age_level"))
        assert easyrec_reading(tokens) == parse(text, ("age_level", "item_age_level"))
