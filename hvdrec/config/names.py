"""Names in messages to the user: field types, enum values, and suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

#: Spellings used in EasyRec's documentation but not in its protos.
FIELD_ALIASES = {"f1_reweight_loss": "f1_reweighted_loss"}

_MOST_LISTED = 12

_TYPE_NAMES = {
    FieldDescriptor.TYPE_DOUBLE: "a number",
    FieldDescriptor.TYPE_FLOAT: "a number",
    FieldDescriptor.TYPE_INT64: "an integer (int64)",
    FieldDescriptor.TYPE_UINT64: "a non-negative integer (uint64)",
    FieldDescriptor.TYPE_INT32: "an integer (int32)",
    FieldDescriptor.TYPE_UINT32: "a non-negative integer (uint32)",
    FieldDescriptor.TYPE_BOOL: "true or false",
    FieldDescriptor.TYPE_STRING: "a string",
}


def find_field(descriptor: Any, name: str) -> FieldDescriptor | None:
    """The field of a message by its name, by its JSON name or by an alias; None if it doesn't exist."""
    fields = descriptor.fields_by_name
    if name in fields:
        return fields[name]
    if FIELD_ALIASES.get(name) in fields:
        return fields[FIELD_ALIASES[name]]
    return descriptor.fields_by_camelcase_name.get(name)


def is_repeated(field: Any) -> bool:
    """Whether the field is a list."""
    return field.label == FieldDescriptor.LABEL_REPEATED


def is_message(field: FieldDescriptor) -> bool:
    """Whether the field holds messages."""
    return field.message_type is not None


def is_free_form(descriptor: Any) -> bool:
    """Whether a message is protobuf's `Struct`, which holds any JSON object."""
    return descriptor.file.package == "google.protobuf"


def type_name(field: FieldDescriptor) -> str:
    """Describes the type of the field (or of an element of the list)."""
    if field.enum_type is not None:
        return f"{_with_article(field.enum_type.name)} ({listed(v.name for v in field.enum_type.values)})"
    if field.message_type is not None:
        return f"{_with_article(field.message_type.name)} message"
    return _TYPE_NAMES.get(field.type, "a value")


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def enum_name(message: Any, field_name: str) -> str:
    """The name of a field's enum value."""
    enum = message.DESCRIPTOR.fields_by_name[field_name].enum_type
    return enum.values_by_number[getattr(message, field_name)].name


def one_line(text: str, most: int = 200) -> str:
    """Makes a user's text safe to quote in a message: on one line, shortened, printable."""
    shown = " ".join(text.split())
    shown = shown if len(shown) <= most else f"{shown[:most]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def listed(names: Iterable[str], most: int = _MOST_LISTED) -> str:
    """Comma-separated names, shortened if there are very many."""
    names = list(names)
    if len(names) <= most + 2:
        return ", ".join(names) or "none"
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def hint(name: str, candidates: Iterable[str], what: str = "there are") -> str:
    """``did you mean x?`` for a misspelt name, else the list of existing names."""
    candidates = list(candidates)
    lower = {c.lower(): c for c in candidates}
    close = [lower[m] for m in difflib.get_close_matches(name.lower(), list(lower), n=2, cutoff=0.6)]
    if not close and len(name) > 2:
        close = [c for low, c in lower.items() if low.startswith(name.lower())][:3]
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"{what}: {listed(candidates)}"
