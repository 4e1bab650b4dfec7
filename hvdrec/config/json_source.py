"""JSON with the place of each value."""

from __future__ import annotations

import bisect
import json
import re
from typing import Any

from hvdrec.config.config import join
from hvdrec.config.names import find_field

_MOST_DIGITS = 400
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def parse(text: str) -> Any:
    """Parses JSON, refusing repeated keys.

    Raises:
        json.JSONDecodeError: It isn't JSON, or a key is listed twice in an object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise json.JSONDecodeError(
                f"the key {json.dumps(twice)} is listed twice", text, _second(text, twice)
            )
        return values

    return json.loads(text, object_pairs_hook=unique, parse_int=_integer)


def remove(value: Any, path: str) -> bool:
    """Takes a field out of a value that `parse` gave; of an element the whole list.

    Args:
        value: What is changed.
        path: Of the field, in the proto's names.

    Returns:
        Whether it was there.
    """
    inner, *names = value, *re.findall(r"[^.\[\]]+|\[\d+\]", path)
    while names and names[-1].startswith("["):
        names.pop()
    for i, name in enumerate(names):
        key: Any = int(name[1:-1]) if name.startswith("[") else None
        if key is None:
            if not isinstance(inner, dict):
                return False
            key = next((k for k in inner if _snake(k) == _snake(name)), None)
            if key is None:
                return False
        if i == len(names) - 1:
            del inner[key]
            return True
        inner = inner[key]
    return False


def _snake(name: str) -> str:
    """A field's name in one form, whether it is written as the proto has it or in camelCase."""
    return name.replace("_", "").lower()


def _integer(written: str) -> int | str:
    """The number; what no field can hold stays as it is written, for the message that says so."""
    return int(written) if len(written) < _MOST_DIGITS else written


def _second(text: str, key: str) -> int:
    """Where a key is listed for the second time, as near as a search can tell."""
    found = [m.start() for m in re.finditer(re.escape(json.dumps(key)) + r"\s*:", text)]
    return found[1] if len(found) > 1 else 0


class _Locator:
    """Goes through the tokens of a JSON text that is known to be right."""

    def __init__(self, text: str) -> None:
        found = list(_TOKEN.finditer(text))
        self._tokens = [m[0] for m in found]
        self._offsets = [m.start() for m in found]
        self._newlines = [m.start() for m in re.finditer("\n", text)]
        self._next = 0
        self.lines: dict[str, int] = {}

    def _take(self) -> str:
        self._next += 1
        return self._tokens[self._next - 1]

    def _note(self, path: str) -> None:
        if path:
            offset = self._offsets[self._next]
            self.lines.setdefault(path, bisect.bisect_left(self._newlines, offset) + 1)

    def value(self, descriptor: Any, path: str) -> None:
        """Notes the lines of what is in a value.

        Args:
            descriptor: Of the message that a JSON object here stands for, or None.
            path: Of the field.
        """
        self._note(path)
        token = self._take()
        if token == "[":
            index = 0
            while self._tokens[self._next] != "]":
                self.value(descriptor, f"{path}[{index}]")
                index += 1
                if self._tokens[self._next] == ",":
                    self._next += 1
            self._next += 1
        elif token == "{":
            while self._tokens[self._next] != "}":
                self._pair(descriptor, path)
                if self._tokens[self._next] == ",":
                    self._next += 1
            self._next += 1

    def _pair(self, descriptor: Any, path: str) -> None:
        key = json.loads(self._tokens[self._next])
        field = find_field(descriptor, key) if descriptor is not None else None
        inner = join(path, field.name if field is not None else key)
        self._note(inner)
        self._next += 2
        self.value(field.message_type if field is not None else None, inner)


def locate(text: str, descriptor: Any) -> dict[str, int]:
    """The line of each field of a message written as JSON.

    Args:
        text: A text that `parse` has taken.
        descriptor: Of the message.

    Returns:
        Field path, in the proto's names, -> line, from 1.
    """
    locator = _Locator(text)
    locator.value(descriptor, "")
    return locator.lines
