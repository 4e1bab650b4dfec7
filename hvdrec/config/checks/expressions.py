"""Checks expressions, and warns where EasyRec reads one differently."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from hvdrec.config.expand import feature_name
from hvdrec.config.expression import (
    COMPARISONS,
    LOGIC,
    Expression,
    ExpressionError,
    Step,
    Token,
    parse_tokens,
    tokenize,
    written,
)
from hvdrec.config.names import enum_name, one_line
from hvdrec.config.report import Report

_WITHOUT_EFFECT = (
    *("embedding_dim", "hash_bucket_size", "num_buckets", "boundaries", "vocab_list", "vocab_file"),
    *("min_val", "max_val", "normalizer_fn"),
)


def check_expression(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    """Checks an ExprFeature."""
    for field in _WITHOUT_EFFECT:
        if getattr(feature, field):
            report.warn(f"{path}.{field}", "has no effect on an ExprFeature, as in EasyRec")
    for group in report.config.proto.model_config.feature_groups:
        if enum_name(group, "wide_deep") == "WIDE" and feature_name(feature) in group.feature_names:
            report.error(
                path,
                f"an ExprFeature is a number without an embedding, which can't be in the wide group "
                f"{group.group_name!r}",
            )
    if not feature.expression.strip():
        report.error(f"{path}.expression", "is missing; an ExprFeature needs it")
        return
    try:
        tokens = tokenize(feature.expression, list(feature.input_names))
        found = parse_tokens(tokens)
    except ExpressionError as error:
        report.error(f"{path}.expression", f"{one_line(feature.expression)!r}, {error}")
        return
    theirs = easyrec_reading(tokens)
    if theirs is not None and theirs != found:
        report.warn(
            f"{path}.expression",
            f"is computed as {one_line(written(found))}; EasyRec, which "
            "evaluates from left to right, reads it as "
            f"{one_line(written(theirs))}",
        )


#: Texts that EasyRec has concatenated: arithmetic tokens, complete comparisons, & and |.
_Pasted = list[Token | Expression]


class _UnreadableError(Exception):
    """EasyRec can't make an expression of it."""


def easyrec_reading(tokens: Sequence[Token]) -> Expression | None:
    """What EasyRec computes for an expression.

    EasyRec evaluates from left to right and keeps one operand at a time, so it drops the operand next to a
    parenthesis in arithmetic. It concatenates the texts around & and | without their parentheses.

    Returns:
        What EasyRec computes, or None where the result isn't an expression.
    """
    try:
        return _parsed(_left_to_right(_operands(tokens)))
    except (_UnreadableError, ExpressionError):
        return None


def _operands(tokens: Sequence[Token]) -> list[str | _Pasted]:
    """Splits a text into the signs that EasyRec looks for and the text between them."""
    parts: list[str | _Pasted] = []
    for token in tokens[:-1]:
        if token.kind in (*COMPARISONS, *LOGIC, "(", ")"):
            parts.append(token.kind)
        elif parts and isinstance(parts[-1], list):
            parts[-1].append(token)
        else:
            parts.append([token])
    return parts


def _left_to_right(parts: Sequence[str | _Pasted]) -> _Pasted:
    stack: list[str | _Pasted] = []
    operand: _Pasted = []
    sign = ""
    for part in parts:
        if isinstance(part, list):
            operand = part
        elif part == "(":
            stack.append(sign)
            sign = ""
        else:
            result = _joined(operand, sign, stack)
            if part == ")":
                opened = stack.pop() if stack else None
                if not isinstance(opened, str):
                    raise _UnreadableError
                operand, sign = _joined(result, opened, stack), ""
            else:
                operand, sign = [], part
                stack.append(result)
    return _joined(operand, sign, stack)


def _joined(operand: _Pasted, sign: str, stack: list[str | _Pasted]) -> _Pasted:
    if not stack or not operand or not sign:
        return operand
    left = stack.pop()
    if isinstance(left, str):
        raise _UnreadableError
    if sign in LOGIC:
        return [*left, Token(sign, sign, 0), *operand]
    return [_binary(COMPARISONS[sign], _parsed(left), _parsed(operand))]


def _parsed(pasted: _Pasted) -> Expression:
    """How Python parses the concatenated text: & before |, arithmetic before both."""
    for sign, name in LOGIC.items():
        cuts = [i for i, part in enumerate(pasted) if isinstance(part, Token) and part.kind == sign]
        if cuts:
            ends = zip((-1, *cuts), (*cuts, len(pasted)), strict=True)
            return functools.reduce(
                functools.partial(_binary, name), (_parsed(pasted[i + 1 : j]) for i, j in ends)
            )
    if len(pasted) == 1 and isinstance(pasted[0], Expression):
        return pasted[0]
    tokens = [part for part in pasted if isinstance(part, Token)]
    if not tokens or len(tokens) < len(pasted):
        raise _UnreadableError
    return parse_tokens([*tokens, Token("end", "", 0)], constants=True)


def _binary(name: str, left: Expression, right: Expression) -> Expression:
    inputs = tuple(dict.fromkeys((*left.inputs, *right.inputs)))
    # The inputs of the left side keep their numbers, and its steps, of which there may be thousands, stay.
    steps = [
        Step(step.name, float(inputs.index(right.inputs[int(step.value)]))) if step.name == "input" else step
        for step in right.steps
    ]
    return Expression(inputs, (*left.steps, *steps, Step(name)))
