"""One config in many forms that are written differently but mean the same."""

from __future__ import annotations

import json
import math
import random
from typing import Any

from google.protobuf import text_encoding
from google.protobuf.descriptor import FieldDescriptor

from hvdrec.config.names import is_message, is_repeated

_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)


class _Form:
    """Text that grows, with the lines that fields come to stand on.

    Attributes:
        lines: Field path -> line, from 1, as `Config.origins` has it.
    """

    def __init__(self, choose: random.Random) -> None:
        self.choose = choose
        self.lines: dict[str, int] = {}
        self._parts: list[str] = []
        self._line = 1

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def put(self, text: str) -> None:
        self._parts.append(text)
        self._line += text.count("\n")

    def note(self, path: str) -> None:
        self.lines.setdefault(path, self._line)


def as_text(message: Any, choose: random.Random) -> _Form:
    """Some text proto that means a message."""
    form = _Text(choose)
    form.gap()
    form.message(message, "")
    return form


def as_json(message: Any, choose: random.Random) -> _Form:
    """Some protobuf JSON that means a message."""
    form = _Json(choose)
    form.gap()
    form.message(message, "")
    form.gap()
    return form


class _Text(_Form):
    def gap(self, needed: bool = False) -> None:
        gaps = [" ", "\n", "\t", "  # it's a { comment: [\n", "\n#\n", " \n "] + (
            [] if needed else ["", "", ""]
        )
        self.put(self.choose.choice(gaps))

    def message(self, message: Any, prefix: str) -> None:
        """Writes the fields in any order; the elements of a list keep theirs."""
        left = [(f, list(enumerate(v)) if is_repeated(f) else [(None, v)]) for f, v in message.ListFields()]
        while left:
            field, values = self.choose.choice(left)
            path = f"{prefix}.{field.name}" if prefix else field.name
            most = len(values) if is_repeated(field) and not is_message(field) else 1
            count = self.choose.randint(1, most)
            taken, values[:count] = values[:count], []
            left = [each for each in left if each[1]]
            self._field(field, path, taken)
            ended = self.choose.random() < 0.3
            if ended:
                self.put(self.choose.choice(",;"))
            self.gap(needed=not ended)

    def _field(self, field: Any, path: str, values: list[tuple[int | None, Any]]) -> None:
        self.note(path)
        self.put(field.name)
        if not is_message(field) or self.choose.random() < 0.5:
            self.gap()
            self.put(":")
        self.gap()
        listed = len(values) > 1 or (
            is_repeated(field) and not is_message(field) and self.choose.random() < 0.3
        )
        for number, (index, value) in enumerate(values):
            if listed:
                self.put("," if number else "[")
                self.gap()
            where = path if index is None else f"{path}[{index}]"
            self.note(where)
            self._value(field, where, value)
        if listed:
            self.gap()
            self.put("]")

    def _value(self, field: Any, path: str, value: Any) -> None:
        if is_message(field):
            begin, end = self.choose.choice(["{}", "<>"])
            self.put(begin)
            self.gap()
            self.message(value, path)
            self.put(end)
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            cut = self.choose.randint(0, len(value)) if self.choose.random() < 0.3 else len(value)
            for part in [value[:cut], value[cut:]] if cut < len(value) else [value]:
                quote = self.choose.choice("'\"")
                self.put(f"{quote}{text_encoding.CEscape(part, as_utf8=True)}{quote}")
                if cut < len(value):
                    self.gap()
        else:
            self.put(self._scalar(field, value))

    def _scalar(self, field: Any, value: Any) -> str:
        if field.enum_type is not None:
            return self.choose.choice([str(value), field.enum_type.values_by_number[value].name])
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            return self.choose.choice(["true", "True", "t", "1"] if value else ["false", "False", "f", "0"])
        if field.cpp_type in _FLOATS:
            return repr(value)
        return self.choose.choice([str(value), hex(value)] if value >= 0 else [str(value)])


class _Json(_Form):
    def gap(self) -> None:
        self.put(self.choose.choice(["", "", " ", "\n", "\n\t "]))

    def message(self, message: Any, prefix: str) -> None:
        """Writes an object, its keys in any order."""
        fields = message.ListFields()
        self.choose.shuffle(fields)
        self.put("{")
        for number, (field, value) in enumerate(fields):
            self.put("," if number else "")
            self.gap()
            path = f"{prefix}.{field.name}" if prefix else field.name
            self.note(path)
            self.put(json.dumps(self.choose.choice([field.name, field.camelcase_name])))
            self.gap()
            self.put(":")
            self.gap()
            if not is_repeated(field):
                self._value(field, path, value)
                continue
            self.put("[")
            for index, each in enumerate(value):
                self.put("," if index else "")
                self.gap()
                self.note(f"{path}[{index}]")
                self._value(field, f"{path}[{index}]", each)
            self.gap()
            self.put("]")
        self.gap()
        self.put("}")

    def _value(self, field: Any, path: str, value: Any) -> None:
        if is_message(field):
            self.message(value, path)
        elif field.enum_type is not None:
            name = field.enum_type.values_by_number[value].name
            self.put(self.choose.choice([str(value), f'"{name}"']))
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            self.put(json.dumps(value, ensure_ascii=self.choose.random() < 0.5))
        elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
            self.put(json.dumps(value))
        elif field.cpp_type in _FLOATS and math.isinf(value):
            self.put('"Infinity"' if value > 0 else '"-Infinity"')
        else:
            self.put(self.choose.choice([repr(value), f'"{value!r}"']))
