"""Assigns plain values (from JSON, edits and flags) to fields of messages."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from hvdrec.config import text
from hvdrec.config.config import join
from hvdrec.config.names import find_field, hint, is_free_form, is_message, is_repeated, one_line, type_name

_INTEGER_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
}
_BOOLEANS = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LARGEST_FLOAT32 = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


class FieldValueError(ValueError):
    """A value doesn't fit its field.

    Attributes:
        path: The field's path.
        problem: What is wrong, on one line.
        at: The path to report; differs from `path` where that isn't a field.
    """

    def __init__(self, path: str, problem: str, at: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path, self.problem, self.at = path, problem, at or path


def shown(value: Any) -> str:
    """A value as the user would write it, shortened."""
    try:
        written = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        written = ascii(value)
    return one_line(written if len(written) <= 80 else f"{written[:80]}...")


def to_scalar(field: FieldDescriptor, value: Any) -> Any:
    """Converts a value for a field (or an element of the list) that isn't a message.

    Numbers and booleans may also come as text; an enum value as its name or number.

    Raises:
        ValueError: The value has another type, or is out of the field's range.
    """
    converted: Any
    if field.enum_type is not None:
        converted = _to_enum(field, value)
    elif field.type == FieldDescriptor.TYPE_BOOL:
        converted = _BOOLEANS.get(str(value)) if isinstance(value, str | int) else None
    elif field.type == FieldDescriptor.TYPE_STRING:
        converted = _to_string(value)
    elif field.type in _INTEGER_RANGES:
        converted = _to_integer(field, value)
    else:
        converted = _to_float(field, value)
    if converted is None:
        raise ValueError(f"expected {type_name(field)}, found {shown(value)}")
    return converted


def _to_enum(field: FieldDescriptor, value: Any) -> int | None:
    enum: Any = field.enum_type
    text = str(value).strip()
    if isinstance(value, str) and text in enum.values_by_name:
        return enum.values_by_name[text].number
    if isinstance(value, str | int) and not isinstance(value, bool) and _INTEGER.fullmatch(text):
        number = int(text) if len(text) < 20 else None
        return number if number in enum.values_by_number else None
    if isinstance(value, str):
        names = hint(text, enum.values_by_name, "its values are")
        raise ValueError(f"{enum.name} has no value {shown(text)}; {names}")
    return None


def _to_string(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return None
    return value


def _to_integer(field: FieldDescriptor, value: Any) -> int | None:
    if isinstance(value, str):
        written = value.strip()
        if _INTEGER.fullmatch(written) and len(written) < 40:
            number = int(written)
        else:
            as_float = _parse_float(written)
            if as_float is None or not as_float.is_integer():
                return None
            number = int(as_float)
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        return None
    low, high = _INTEGER_RANGES[field.type]
    return number if low <= number <= high else None


def _to_float(field: FieldDescriptor, value: Any) -> float | None:
    if isinstance(value, str):
        number = _parse_float(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
    else:
        return None
    single = field.type == FieldDescriptor.TYPE_FLOAT
    if number is not None and single and math.isfinite(number) and abs(number) > _LARGEST_FLOAT32:
        return None
    return number


def _parse_float(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        return None


def assign(message: Any, field: FieldDescriptor, value: Any, path: str, allow_text: bool = False) -> None:
    """Assigns a plain value to a field.

    A list replaces a repeated field, a dictionary is merged into a message, and null clears the field.

    Args:
        message: The message that has the field.
        field: The field's descriptor.
        value: As `json.loads` returns it.
        path: The field's path, for errors.
        allow_text: Whether a string may represent a message or a list, as a text proto.

    Raises:
        FieldValueError: The value doesn't fit.
    """
    if value is None:
        message.ClearField(field.name)
    elif allow_text and isinstance(value, str) and (is_message(field) or is_repeated(field)):
        message.ClearField(field.name)
        merge_text(message, field, value, path)
    elif is_repeated(field):
        _assign_list(message, field, value, path, allow_text)
    elif is_message(field):
        merge_value(getattr(message, field.name), value, path, allow_text)
    else:
        setattr(message, field.name, _scalar_at(field, value, path))


def _scalar_at(field: FieldDescriptor, value: Any, path: str) -> Any:
    try:
        return to_scalar(field, value)
    except ValueError as error:
        raise FieldValueError(path, str(error)) from None


def _assign_list(message: Any, field: FieldDescriptor, value: Any, path: str, allow_text: bool) -> None:
    if not isinstance(value, list):
        advice = "; put it in [ ]" if is_message(field) and isinstance(value, Mapping) else ""
        raise FieldValueError(
            path, f"expected a list, each element {type_name(field)}, found {shown(value)}{advice}"
        )
    message.ClearField(field.name)
    elements = getattr(message, field.name)
    for i, element in enumerate(value):
        if not is_message(field):
            elements.append(_scalar_at(field, element, f"{path}[{i}]"))
        else:
            merge_value(elements.add(), element, f"{path}[{i}]", allow_text)


def merge_value(message: Any, value: Any, path: str, allow_text: bool = False) -> None:
    """Merges a dictionary (with `allow_text` also a text proto) into a message and marks it as set.

    Raises:
        FieldValueError: The value doesn't fit.
    """
    descriptor = message.DESCRIPTOR
    message.SetInParent()
    if allow_text and isinstance(value, str):
        parse_message_text(message, value, path)
        return
    if not isinstance(value, Mapping):
        raise FieldValueError(path, f"expected fields of {descriptor.name}, found {shown(value)}")
    if is_free_form(descriptor):
        _merge_struct(message, value, path)
        return
    chosen: dict[str, str] = {}
    for name, inner in value.items():
        field = find_field(descriptor, name)
        if field is None:
            names = hint(name, descriptor.fields_by_name, "its fields are")
            problem = f"{descriptor.name} has no field {shown(name)}; {names}"
            raise FieldValueError(path, problem, join(path, name))
        oneof = field.containing_oneof
        if oneof is not None and inner is not None:
            if oneof.name in chosen:
                both = f"{chosen[oneof.name]} and {field.name}"
                raise FieldValueError(path, f"only one of {both} can be set", join(path, field.name))
            chosen[oneof.name] = field.name
        assign(message, field, inner, join(path, field.name), allow_text)


def _merge_struct(message: Any, value: Any, path: str) -> None:
    try:
        json_format.ParseDict(value, message)
    except (json_format.ParseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FieldValueError(path, " ".join(str(error).split())[:200]) from None


def strip_braces(written: str) -> str:
    """The text of a text proto without its optional braces."""
    written = written.strip()
    if written[:1] + written[-1:] in ("{}", "<>"):
        return written[1:-1]
    return written


def parse_message_text(message: Any, written: str, path: str) -> None:
    """Merges a text proto, with or without braces, into a message.

    Raises:
        FieldValueError: The text isn't a text proto.
    """
    message.SetInParent()
    try:
        text.merge(strip_braces(written), message)
    except text.TextError as error:
        raise FieldValueError(path, error.problem) from None


def merge_text(message: Any, field: FieldDescriptor, written: str, path: str) -> None:
    """Merges the text of a field's value: a message, or a list in brackets or a single element.

    Raises:
        FieldValueError: The value doesn't fit.
    """
    written = written.strip()
    if not is_repeated(field):
        parse_message_text(getattr(message, field.name), written, path)
        return
    if not written.startswith("[") and not is_message(field):
        _append_scalar(message, field, written, path)
        return
    separator = " " if is_message(field) else ": "
    if not written.startswith(("[", "{", "<")):
        written = f"{{{written}}}"
    try:
        text.merge(f"{field.name}{separator}{written}", message)
    except text.TextError as error:
        lacks_quotes = field.type == FieldDescriptor.TYPE_STRING and "Expected string" in error.problem
        advice = "; write strings in quotes, ['a', 'b'], or give a JSON list" if lacks_quotes else ""
        raise FieldValueError(path, f"{error.problem}{advice}") from None


def _append_scalar(message: Any, field: FieldDescriptor, written: str, path: str) -> None:
    """A list of one element, or of adjacent text proto elements such as ``"a" "b"``."""
    if field.type == FieldDescriptor.TYPE_STRING:
        if written[:1] + written[-1:] in ('""', "''") and len(written) > 1:
            written = written[1:-1]
        elif "," in written:
            raise FieldValueError(path, f"expected a list such as ['a', 'b'], found {shown(written)}")
    getattr(message, field.name).append(_scalar_at(field, written, path))
