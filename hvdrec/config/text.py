"""Text protos: parsing with clear errors, and the line number of each field."""

from __future__ import annotations

import bisect
import re
from typing import Any

from google.protobuf import text_format

from hvdrec.config.config import join
from hvdrec.config.names import FIELD_ALIASES, hint, is_message, is_repeated, one_line

_TOKEN = re.compile(r""" \#[^\n]* | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | [\w.+-]+ | \S """, re.VERBOSE)
_ALIASED = re.compile("|".join(map(re.escape, FIELD_ALIASES)))
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named (.*)\.$', re.DOTALL)
#: Problems of a single field: the rest of the text may be correct.
_FIELD_ALONE = re.compile(
    r"has no field (?!.*is a \} missing above)|has no value|Couldn't parse|Value out of range"
    r"|Expected \"true\" or|Expected string"
)
_FIELD_BEFORE = re.compile(r"([A-Za-z_]\w*)\s*:\s*[^:{}<>]*$")
#: Hints for a text that begins with one of these.
_BEGINNINGS = {
    "{": " (write JSON into a file named .json)",
    "/": " (a comment begins with #)",
    "}": " (one } too many?)",
}
#: More mistakes than these mean that the text is something else.
_MOST_MISTAKES = 20


class TextError(ValueError):
    """A text proto can't be parsed.

    Attributes:
        line: From 1; 0 if unknown.
        column: From 1.
        problem: What is wrong, on one line.
        more: Further mistakes in the same text.
    """

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.column = line, column
        self.problem = problem
        self.more: list[TextError] = []


def merge(text: str, message: Any) -> None:
    """Merges a text proto into a message, like `text_format.Merge`.

    The last of several values of a field is used, messages are merged, lists are appended to, and no field is
    required. `FIELD_ALIASES` are accepted.

    Raises:
        TextError: The text isn't a valid text proto. All unknown fields and invalid values are reported
            together.
    """
    zero = text.find("\0")
    if zero >= 0:
        raise TextError(*_place(text, zero), "a NUL byte, which is not text")
    if _ALIASED.search(text):
        text = _replace_aliases(text)
    first = _mistake(text, message)
    if first is None:
        return
    error: TextError | None = first
    while error is not None and len(first.more) < _MOST_MISTAKES:
        rest = _without_field(text, error.line, error.column) if _FIELD_ALONE.search(error.problem) else None
        if rest is None or rest == text:
            break
        text = rest
        error = _mistake(text, type(message)())
        if error is not None:
            first.more.append(error)
    raise first


def _mistake(text: str, message: Any) -> TextError | None:
    """Merges a text; returns the mistake if that isn't possible."""
    try:
        text_format.Merge(text, message)
    except text_format.ParseError as error:
        return _explained(error, text, message.DESCRIPTOR)
    except RecursionError:
        return TextError(0, 0, "messages are nested too deeply")
    except (ValueError, TypeError, KeyError) as error:
        return TextError(0, 0, one_line(str(error)))
    return None


def _without_field(text: str, line: int, column: int) -> str | None:
    """Replaces the field whose name or value is at a position by spaces; None if there is no such field."""
    tokens = [m for m in _TOKEN.finditer(text) if not m[0].startswith("#")]
    words = [token[0] for token in tokens]
    offset = _offset(text, line, column)
    last = bisect.bisect_right([token.start() for token in tokens], offset) - 1
    first = last
    if words[last + 1 : last + 2] not in ([":"], ["{"], ["<"]):
        while first > 0 and words[first] not in (":", "{", "}", "<", ">"):
            first -= 1
        first -= 1
        if first < 0 or words[first + 1] != ":":
            return None
    last = first + 1 + (words[first + 1] == ":")
    depth = 0
    while last < len(words):
        depth += (words[last] in ("{", "<", "[")) - (words[last] in ("}", ">", "]"))
        string = words[last][:1] in ("'", '"')
        if depth <= 0 and not (string and words[last + 1 : last + 2] and words[last + 1][:1] in ("'", '"')):
            break
        last += 1
    if last >= len(words):
        return None
    begin, end = tokens[first].start(), tokens[last].end()
    return text[:begin] + re.sub(r"[^\n]", " ", text[begin:end]) + text[end:]


def _offset(text: str, line: int, column: int) -> int:
    return sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column - 1


def _place(text: str, offset: int) -> tuple[int, int]:
    """The line and column of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _replace_aliases(text: str) -> str:
    """Replaces aliases by the protos' field names, except inside strings and comments."""
    return _TOKEN.sub(lambda token: FIELD_ALIASES.get(token[0], token[0]), text)


def _explained(error: text_format.ParseError, text: str, root: Any) -> TextError:
    """The parser's error, shortened, with the field concerned and the closest valid name."""
    line, column = error.GetLine() or 0, error.GetColumn() or 0
    lines = text.split("\n")
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    problem = str(error).removeprefix(f"{line}:{column} : ")
    for quoted in (source, ""):
        problem = problem.removeprefix(f"'{quoted}': ")
    if problem.startswith("Couldn't parse string"):
        # The parser is already past the text that it couldn't decode.
        line, column = _string_before(text, line, column)
        source = lines[line - 1]
    return TextError(line, column, _clearer(problem, text, source[: max(0, column - 1)], root))


def _string_before(text: str, line: int, column: int) -> tuple[int, int]:
    """Line and column of the last quoted text before a position."""
    offset = _offset(text, line, column)
    starts = [m.start() for m in _TOKEN.finditer(text, 0, offset) if m[0][0] in "\"'"]
    return _place(text, starts[-1]) if starts else (line, column)


def _clearer(problem: str, text: str, before: str, root: Any) -> str:
    missing, value = _NO_FIELD.search(problem), _NO_VALUE.search(problem)
    if missing is not None:
        descriptor = root.file.pool.FindMessageTypeByName(missing[1])
        advice = hint(missing[2], descriptor.fields_by_name, "its fields are")
        if descriptor is not root and missing[2] in root.fields_by_name:
            advice = f"it is a field of {root.name}: is a }} missing above?"
        return f"{descriptor.name} has no field {one_line(missing[2])!r}; {advice}"
    if problem.startswith("Expected identifier or number, got"):
        return f"{one_line(problem)}{_BEGINNINGS.get(problem[35:36], '')}"
    still_open = _still_open(text) if problem == 'Expected "}".' else ""
    if still_open:
        return f"the file ends inside {still_open}: a }} is missing"
    field = _FIELD_BEFORE.search(before)
    prefix = f"{field[1]}: " if field else ""
    if value is not None:
        enum = root.file.pool.FindEnumTypeByName(value[1])
        names = hint(value[2], enum.values_by_name, "its values are")
        return f"{prefix}{enum.name} has no value {one_line(value[2])!r}; {names}"
    return prefix + one_line(problem.replace(f"{root.file.package}.", ""))


def _still_open(text: str) -> str:
    """The innermost message that is not closed at the end of the text, with its line."""
    opened: list[tuple[str, int]] = []
    name = ""
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "<"):
            opened.append((name, token.start()))
        elif token[0] in ("}", ">") and opened:
            opened.pop()
        elif token[0] != ":" and not token[0].startswith("#"):
            name = token[0]
    if not opened:
        return ""
    name, offset = opened[-1]
    line, _ = _place(text, offset)
    return f"{name} {{ (line {line})"


class _Locator:
    """Iterates over the tokens of a valid text proto."""

    def __init__(self, text: str) -> None:
        found = [m for m in _TOKEN.finditer(text) if not m[0].startswith("#")]
        self._tokens = [m[0] for m in found]
        self._offsets = [m.start() for m in found]
        self._newlines = [m.start() for m in re.finditer("\n", text)]
        self._next = 0
        self._counts: dict[str, int] = {}
        self.lines: dict[str, int] = {}

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _line(self) -> int:
        return bisect.bisect_left(self._newlines, self._offsets[self._next]) + 1

    def message(self, descriptor: Any, prefix: str, end: str) -> None:
        """Records the lines of all fields up to `end`."""
        while self._peek() not in (end, ""):
            name = self._peek()
            field = descriptor.fields_by_name.get(FIELD_ALIASES.get(name, name))
            if field is None:
                self._next = len(self._tokens)
                return
            path = join(prefix, field.name)
            self.lines[path] = (
                min(self._line(), self.lines.get(path, 1 << 62)) if is_repeated(field) else (self._line())
            )
            self._next += 1
            if self._peek() == ":":
                self._next += 1
            self._values(field, path)
            if self._peek() in (",", ";"):
                self._next += 1
        self._next += 1

    def _values(self, field: Any, path: str) -> None:
        if not (is_repeated(field) and self._peek() == "["):
            self._value(field, path)
            return
        self._next += 1
        while self._peek() not in ("]", ""):
            self._value(field, path)
            if self._peek() == ",":
                self._next += 1
        self._next += 1

    def _value(self, field: Any, path: str) -> None:
        line = self._line() if self._peek() else 0
        if is_repeated(field):
            index = self._counts.get(path, 0)
            self._counts[path] = index + 1
            path = f"{path}[{index}]"
            self.lines[path] = line
        token = self._peek()
        self._next += 1
        if is_message(field):
            self.message(field.message_type, path, ">" if token == "<" else "}")
            return
        while token[:1] in ("'", '"') and self._peek()[:1] in ("'", '"'):
            self._next += 1


def locate(text: str, descriptor: Any) -> dict[str, int]:
    """The line number of each field of a text proto.

    Args:
        text: A text that `merge` accepted.
        descriptor: The message's descriptor.

    Returns:
        Field path -> line, from 1: the line of the last value of a field, or of the first of a list.
    """
    locator = _Locator(text)
    locator.message(descriptor, "", "")
    return locator.lines
