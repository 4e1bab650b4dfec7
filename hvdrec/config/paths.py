"""Paths into a config: dot-separated names, and selectors in brackets."""

from __future__ import annotations

import dataclasses
import operator
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from hvdrec.config.config import join
from hvdrec.config.names import find_field, hint, is_free_form, is_message, is_repeated, listed, type_name
from hvdrec.config.values import shown, to_scalar

_CLOSING = {"[": "]", "{": "}", "(": ")", "<": ">"}
_INDEX = re.compile(r"\s*([+-]?\d{1,18})\s*")
_SLICE = re.compile(r"\s*([+-]?\d{1,18})?\s*:\s*([+-]?\d{1,18})?\s*")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_NOT_NUMBERS = (
    FieldDescriptor.CPPTYPE_ENUM,
    FieldDescriptor.CPPTYPE_BOOL,
    FieldDescriptor.CPPTYPE_STRING,
)
_SELECTORS = "[3], [-1], [:], [1:10] or [key=value] (also >=, <=, >, <)"


class PathError(ValueError):
    """A path is malformed, or matches nothing in this config; the message names the part and the reason."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One part of a path.

    Attributes:
        name: The field's name.
        selector: The text in the brackets after the name; None without brackets.
    """

    name: str
    selector: str | None = None

    def __str__(self) -> str:
        return self.name if self.selector is None else f"{self.name}[{self.selector}]"


@dataclasses.dataclass(frozen=True)
class Target:
    """A field or element in a message that a path matches.

    Attributes:
        message: The message that has the field.
        field: The field.
        index: The element; None for the field itself.
        path: Field path, as in `Config`.
    """

    message: Any
    field: FieldDescriptor
    index: int | None
    path: str


def split_outside(written: str, separator: str, brackets: str = "[", quotes: bool = False) -> list[str]:
    """Splits at a separator outside brackets and quotes.

    Args:
        written: The text to split.
        separator: One character.
        brackets: The opening brackets to respect.
        quotes: Whether to respect quotes outside brackets too.

    Raises:
        PathError: Brackets or quotes are not closed.
    """
    parts: list[str] = []
    expected: list[str] = []
    start, quote = 0, ""
    for i, character in enumerate(written):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and (expected or quotes):
            quote = character
        elif expected and character == expected[-1]:
            expected.pop()
        elif character in brackets:
            expected.append(_CLOSING[character])
        elif character == separator and not expected:
            parts.append(written[start:i])
            start = i + 1
    if expected or quote:
        raise PathError(f"{shown(written)}: {quote or expected[-1]} is missing")
    return [*parts, written[start:]]


def parse_path(written: str) -> list[Step]:
    """Splits a path into its steps.

    Raises:
        PathError: The text isn't a path.
    """
    steps = []
    for part in split_outside(written, "."):
        name, bracket, rest = part.strip().partition("[")
        if not name or (bracket and not rest.endswith("]")):
            what = "a name is missing" if not name else f"write {name} or {name}[...]"
            raise PathError(f"{shown(part)} is not a valid part of a path: {what}")
        steps.append(Step(name.strip(), rest[:-1] if bracket else None))
    return steps


def select(message: Any, steps: Sequence[Step], prefix: str = "") -> list[Target]:
    """Finds everything that a path matches, in order.

    Args:
        message: The message that the path starts from.
        steps: The path; at least one step.
        prefix: Field path of `message`.

    Raises:
        PathError: A part of the path matches nothing.
    """
    nodes = [(message, prefix)]
    targets: list[Target] = []
    for step in steps:
        targets = [target for node, path in nodes for target in _select_step(node, step, path)]
        if step is not steps[-1]:
            nodes = [_enter(target) for target in targets]
    return targets


def _select_step(message: Any, step: Step, prefix: str) -> list[Target]:
    if is_free_form(message.DESCRIPTOR):
        raise PathError(f"{prefix} has no fields to select; set it as a whole, with a JSON object")
    field = find_field(message.DESCRIPTOR, step.name)
    if field is None:
        names = hint(step.name, message.DESCRIPTOR.fields_by_name, "its fields are")
        raise PathError(f"{message.DESCRIPTOR.name} has no field {shown(step.name)}; {names}")
    path = join(prefix, field.name)
    if step.selector is None:
        return [Target(message, field, None, path)]
    if not is_repeated(field):
        raise PathError(f"{path} is not a list, so it takes no [{step.selector}]")
    elements = getattr(message, field.name)
    indices = _indices(elements, field, step.selector, path)
    return [Target(message, field, i, f"{path}[{i}]") for i in indices]


def _enter(target: Target) -> tuple[Any, str]:
    """The message in a target, for the next step."""
    value = getattr(target.message, target.field.name)
    if target.index is None and is_repeated(target.field):
        raise PathError(f"{target.path} is a list of {len(value)} elements; select some with {_SELECTORS}")
    if not is_message(target.field):
        raise PathError(f"{target.path} is {type_name(target.field)} and has no fields")
    return (value if target.index is None else value[target.index]), target.path


def _indices(elements: Sequence[Any], field: FieldDescriptor, selector: str, path: str) -> Sequence[int]:
    count = len(elements)
    index, cut = _INDEX.fullmatch(selector), _SLICE.fullmatch(selector)
    if index is not None:
        position = int(index[1])
        if not -count <= position < count:
            there = f"has {count} elements (0 to {count - 1})" if count else "is empty"
            raise PathError(f"{path} {there}, so there is no [{selector}]")
        return [position % count]
    if cut is not None:
        found = range(count)[slice(*(int(g) if g else None for g in cut.groups()))]
        if not found:
            raise PathError(f"[{selector}] selects nothing: {path} has {count} elements")
        return found
    return _compare(elements, field, selector, path)


def _compare(elements: Sequence[Any], field: FieldDescriptor, selector: str, path: str) -> Sequence[int]:
    """The elements for which ``key=value`` (or another comparison) is true."""
    key, symbol, written = _split_comparison(selector)
    if not symbol or key.endswith("!") or written.startswith("="):
        raise PathError(f"{path}: [{selector}] is not a selector; use {_SELECTORS}")
    if not is_message(field):
        raise PathError(f"{path}: its elements have no fields; use [3], [-1], [:] or [1:10]")
    steps = parse_path(key)
    compare = _OPERATORS[symbol]
    matched: list[int] = []
    present: dict[str, None] = {}
    for i, element in enumerate(elements):
        for leaf, value in _leaves(element, steps, f"{path}[{i}]"):
            present[_written(leaf, value)] = None
            try:
                if compare(value, _cast(leaf, written)):
                    matched.append(i)
                    break
            except ValueError as error:
                raise PathError(f"{path}[{selector}]: {key}: {error}") from None
    if not matched:
        near = (
            hint(written, present, "the values are")
            if symbol == "="
            else f"the values are: {listed(present)}"
        )
        raise PathError(f"no element of {path} has {key}{symbol}{written}; {near}")
    return matched


def _split_comparison(selector: str) -> tuple[str, str, str]:
    depth, quote = 0, ""
    for i, character in enumerate(selector):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
        elif character in "<>=" and depth == 0:
            symbol = selector[i : i + 2] if selector[i : i + 2] in _OPERATORS else character
            return selector[:i].strip(), symbol, _unquoted(selector[i + len(symbol) :].strip())
    return "", "", ""


def _unquoted(written: str) -> str:
    return (
        written[1:-1] if len(written) > 1 and written[0] in "\"'" and written[-1] == written[0] else written
    )


def _leaves(message: Any, steps: Sequence[Step], prefix: str) -> list[tuple[FieldDescriptor, Any]]:
    """The values of a selector's key in one element; none if a message along its path isn't set."""
    step, rest = steps[0], steps[1:]
    try:
        targets = _select_step(message, step, prefix)
    except PathError:
        if step.selector is None or find_field(message.DESCRIPTOR, step.name) is None:
            raise
        return []
    leaves = []
    for target in targets:
        value = getattr(message, target.field.name)
        if rest or is_message(target.field):
            inner, path = _enter(target)
            if not rest:
                raise PathError(f"{path} is {type_name(target.field)}; compare one of its fields")
            if target.index is not None or message.HasField(target.field.name):
                leaves += _leaves(inner, rest, path)
        elif target.index is not None or not is_repeated(target.field):
            leaves.append((target.field, value if target.index is None else value[target.index]))
        else:
            raise PathError(f"{target.path} is a list; compare {step.name}[0]=... or {step.name}[:]=...")
    return leaves


def _cast(field: FieldDescriptor, written: str) -> Any:
    """The value to compare a field's values with."""
    try:
        value = to_scalar(field, written)
    except ValueError:
        if field.enum_type is not None or field.type in (
            FieldDescriptor.TYPE_BOOL,
            FieldDescriptor.TYPE_STRING,
        ):
            raise
        try:
            return float(written)
        except ValueError:
            raise ValueError(f"expected a number, found {shown(written)}") from None
    if field.type == FieldDescriptor.TYPE_FLOAT:
        # A float32 field stores 0.9 as 0.899999976, so round the number it is compared with in the same way.
        return struct.unpack("<f", struct.pack("<f", value))[0]
    return value


def _written(field: FieldDescriptor, value: Any) -> str:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return f"{value:g}" if isinstance(value, float) else str(value)
