"""The protos against the reference's tables: every message, field, enum and oneof of EasyRec."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pathlib
import re
import struct

import pytest
from google.protobuf.descriptor import FieldDescriptor

from hvdrec.config import protos

_PACKAGE = "hvdrec.protos."
_LABELS = {
    "opt": FieldDescriptor.LABEL_OPTIONAL,
    "req": FieldDescriptor.LABEL_REQUIRED,
    "rep": FieldDescriptor.LABEL_REPEATED,
}
_SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("double", "float", "int32", "int64", "uint32", "uint64", "bool", "string")
}
#: Defaults that the reference describes in words.
_DESCRIBED = {"IncrementSaveConfig.File.mount_path"}


@dataclasses.dataclass
class Tables:
    """The content of the reference: file -> message -> field name -> row; enum -> values."""

    messages: dict[str, dict[str, list[str]]]
    files: dict[str, str]
    enums: dict[str, dict[str, int]]


def read_tables(text: str) -> Tables:
    tables, file, message = Tables({}, {}, {}), "", ""
    section = text[text.index("## 2. `pipeline.config` schema") : text.index("\n## 3. ")]
    for line in section.splitlines():
        if heading := re.match(r"#### `protos/(\w+)\.proto`", line):
            file = heading[1]
        elif enum := re.match(r"- enum `([\w.]+)`: (.*)", line):
            pairs = (pair.split("=") for pair in enum[2].split(", "))
            tables.enums[enum[1]] = {name: int(number) for name, number in pairs}
            tables.files[enum[1]] = file
        elif line.startswith("|"):
            cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if name := re.fullmatch(r"\*\*([\w.]+)\*\*", cells[3]):
                message = name[1]
                tables.messages[message] = {}
                tables.files[message] = file
            elif cells[0].isdigit():
                tables.messages[message][cells[3].split(" ⊂ ")[0]] = cells
    return tables


@pytest.fixture(scope="module")
def tables(shared: pathlib.Path) -> Tables:
    return read_tables((shared / "reference" / "easyrec_compat.md").read_text(encoding="utf-8"))


def own_types() -> tuple[dict, dict]:
    """This project's message and enum descriptors by name, nested ones included."""
    messages, enums = {}, {}

    def add(descriptor) -> None:
        messages[descriptor.full_name.removeprefix(_PACKAGE)] = descriptor
        for nested in descriptor.nested_types:
            add(nested)
        for enum in descriptor.enum_types:
            enums[enum.full_name.removeprefix(_PACKAGE)] = enum

    for path in pathlib.Path(protos.__file__).parent.glob("*.proto"):
        file = importlib.import_module(f"{protos.__name__}.{path.stem}_pb2").DESCRIPTOR
        for descriptor in file.message_types_by_name.values():
            add(descriptor)
        enums.update(file.enum_types_by_name)
    return messages, enums


MESSAGES, ENUMS = own_types()


def described(field) -> tuple[str, str, str, str]:
    """Number, label, type and oneof, as the reference writes them."""
    label = next(name for name, value in _LABELS.items() if value == field.label)
    inner = field.message_type or field.enum_type
    kind = inner.full_name.removeprefix(_PACKAGE) if inner else _SCALARS[field.type]
    return str(field.number), label, kind, field.containing_oneof.name if field.containing_oneof else ""


def default_of(field, written: str):
    """A default of the reference as a value of the field's type."""
    if field.enum_type:
        return field.enum_type.values_by_name[written].number
    if field.type == FieldDescriptor.TYPE_STRING:
        return written[1:-1].encode().decode("unicode_escape")
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}[written]
    return float(written)


def same_default(field, expected) -> bool:
    if field.type != FieldDescriptor.TYPE_FLOAT:
        return field.default_value == expected
    # A float's default may be held as the float32 nearest to what is written.
    return math.isclose(
        field.default_value, struct.unpack("<f", struct.pack("<f", expected))[0], rel_tol=1e-7
    )


def test_the_reference_was_read_whole(tables):
    counted = len(tables.messages), len(tables.enums), sum(map(len, tables.messages.values()))
    assert counted == (169, 10, 1001)


def test_no_message_is_missing(tables):
    assert sorted(set(tables.messages) - set(MESSAGES)) == []
    assert sorted(set(tables.enums) - set(ENUMS)) == []


def test_messages_stand_in_the_same_files(tables):
    for name, file in tables.files.items():
        descriptor = MESSAGES.get(name) or ENUMS[name]
        assert pathlib.PurePath(descriptor.file.name).stem == file, name


def test_fields_have_easyrecs_number_label_type_and_oneof(tables):
    wrong = {}
    for message, fields in tables.messages.items():
        for name, cells in fields.items():
            field = MESSAGES[message].fields_by_name.get(name)
            oneof = cells[3].partition(" ⊂ ")[2].strip("*")
            found = described(field) if field is not None else None
            if found != (*cells[:3], oneof):
                wrong[f"{message}.{name}"] = ((*cells[:3], oneof), found)
    assert wrong == {}


def test_fields_have_easyrecs_defaults(tables):
    wrong = {}
    for message, fields in tables.messages.items():
        for name, cells in fields.items():
            field = MESSAGES[message].fields_by_name[name]
            if f"{message}.{name}" in _DESCRIBED or field.label == FieldDescriptor.LABEL_REPEATED:
                continue
            right = (
                same_default(field, default_of(field, cells[4])) if cells[4] else not field.has_default_value
            )
            if not right:
                wrong[f"{message}.{name}"] = (cells[4], field.default_value)
    assert wrong == {}


def test_enums_have_easyrecs_values(tables):
    for name, values in tables.enums.items():
        assert {v.name: v.number for v in ENUMS[name].values} == values, name


def test_own_fields_are_numbered_from_1000(tables):
    for message, descriptor in MESSAGES.items():
        for field in descriptor.fields:
            if field.name not in tables.messages.get(message, {}):
                assert message not in tables.messages or field.number >= 1000, f"{message}.{field.name}"
