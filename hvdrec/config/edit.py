"""`--edit_config_json`: changes to a config, given as paths and values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hvdrec.config.config import Config
from hvdrec.config.json_source import parse
from hvdrec.config.names import is_free_form, is_message, is_repeated, one_line
from hvdrec.config.paths import PathError, Step, Target, parse_path, select, split_outside
from hvdrec.config.values import FieldValueError, assign, merge_value, parse_message_text, shown, to_scalar
from hvdrec.errors import ConfigError
from hvdrec.storage import read_text

FLAG = "--edit_config_json"


def parse_edits(written: str) -> dict[str, Any]:
    """Parses the text of the flag.

    Raises:
        ConfigError: The text isn't a JSON object.
    """
    try:
        edits = parse(written)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{FLAG}: not valid JSON: {error.msg} (character {error.pos + 1})") from None
    except RecursionError:
        raise ConfigError(f"{FLAG}: values are nested too deeply") from None
    if not isinstance(edits, dict):
        raise ConfigError(f'{FLAG}: expected {{"path": value, ...}}, found {shown(edits)}')
    return edits


def read_parameters(path: str, flag: str) -> dict[str, Any]:
    """Reads the edits of a file ``{"param": {path: value}}``, the format that hyper-parameter searches write.

    Args:
        path: The file's path.
        flag: The flag that names the file.

    Raises:
        ConfigError: The file can't be read, or contains something else.
    """
    try:
        value = parse(read_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{flag}: {path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{flag}: {path}: can't be read: {reason}") from None
    edits = value.get("param") if isinstance(value, dict) else None
    if not isinstance(edits, dict):
        raise ConfigError(
            f'{flag}: {path}: expected {{"param": {{"path": value, ...}}}}, found {shown(value)}'
        )
    return edits


def apply(config: Config, edits: Mapping[str, Any], origin: str = FLAG) -> None:
    """Applies edits to a config, in order.

    docs/config.md has the grammar. `origin` is recorded as the origin of each changed field.

    Args:
        config: The config to change. After an error it may be partly changed.
        edits: Path -> value. Several paths separated by ``;`` take as many values separated by ``;``; a
            dictionary holds edits relative to its path.
        origin: The flag the edits come from.

    Raises:
        ConfigError: Paths match nothing, or values don't fit. The text has one line per edit that names the
            part.
    """
    problems: list[str] = []
    for written, value in edits.items():
        try:
            for path, single in _pairs(written, value):
                _apply_one(config, config.proto, "", path, single, origin)
        except (PathError, FieldValueError) as error:
            problems.append(_at(origin, written.strip(), str(error)))
        except RecursionError:
            problems.append(f"{origin}: values are nested too deeply")
    if problems:
        raise ConfigError("\n".join(problems))


def _at(origin: str, written: str, problem: str) -> str:
    """The error text for an edit: flag, path and problem on one line, without repeating the path."""
    problem = one_line(problem.removeprefix(f"{written}: "), 2000)
    if origin == f"--{written}" or not written:
        return f"{origin}: {problem}"
    return f"{origin}: {one_line(written)}: {problem}"


def _pairs(written: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Splits ``"a;b": "1;2"``. The value of a single path is never split."""
    paths = [p.strip() for p in split_outside(written, ";")]
    if len(paths) == 1:
        yield paths[0], value
        return
    values = _split_values(value) if isinstance(value, str) else [value]
    while paths and not paths[-1]:
        paths.pop()
        if len(values) > len(paths) and values[-1] == "":
            values.pop()
    if len(values) != len(paths):
        raise PathError(f"{len(paths)} paths but {len(values)} values; separate the values with ; too")
    yield from zip(paths, values, strict=True)


def _split_values(value: str) -> list[Any]:
    try:
        parts = split_outside(value, ";", "[{", quotes=True)
    except PathError:
        # Not a text proto: brackets and quotes are ordinary characters.
        parts = value.split(";")
    return [part.strip() for part in parts]


def _apply_one(config: Config, message: Any, prefix: str, written: str, value: Any, origin: str) -> None:
    steps = parse_path(written)
    if not prefix:
        if [str(s) for s in steps] == ["feature_config"] and isinstance(value, Mapping) and value:
            for key, inner in value.items():
                for path, single in _pairs(key, inner):
                    _apply_one(config, message, "", f"feature_config.{path}", single, origin)
            return
        steps = _features_in_use(config.proto, steps)
    for target in select(message, steps, prefix):
        if isinstance(value, Mapping) and _holds_one_message(target):
            _apply_below(config, target, value, origin)
            continue
        _put(target, value)
        config.changed(target.path, origin)


def _features_in_use(proto: Any, steps: list[Step]) -> list[Step]:
    """`feature_configs[...]` and `feature_config.features[...]`: whichever the file uses."""
    if proto.feature_configs and [s.name for s in steps[:2]] == ["feature_config", "features"]:
        return [Step("feature_configs", steps[1].selector), *steps[2:]]
    if not proto.feature_configs and proto.feature_config.features and steps[0].name == "feature_configs":
        return [Step("feature_config"), Step("features", steps[0].selector), *steps[1:]]
    return steps


def _holds_one_message(target: Target) -> bool:
    return is_message(target.field) and (target.index is not None or not is_repeated(target.field))


def _value_of(target: Target) -> Any:
    value = getattr(target.message, target.field.name)
    return value if target.index is None else value[target.index]


def _apply_below(config: Config, target: Target, value: Mapping[str, Any], origin: str) -> None:
    """Applies a dictionary of edits to the message a path leads to."""
    message = _value_of(target)
    if is_free_form(message.DESCRIPTOR):
        merge_value(message, value, target.path)
        config.changed(target.path, origin)
        return
    if not value:
        config.origins.setdefault(target.path, origin)
    message.SetInParent()
    for key, inner in value.items():
        for path, single in _pairs(key, inner):
            _apply_one(config, message, target.path, path, single, origin)


def _put(target: Target, value: Any) -> None:
    """Sets the field or element at a path."""
    field = target.field
    if target.index is None:
        assign(target.message, field, value, target.path, allow_text=True)
        return
    if value is None:
        raise FieldValueError(target.path, "null clears a whole field; it can't clear one element")
    elements = getattr(target.message, field.name)
    if not is_message(field):
        try:
            elements[target.index] = to_scalar(field, value)
        except ValueError as error:
            raise FieldValueError(target.path, str(error)) from None
        return
    if not isinstance(value, str):
        raise FieldValueError(target.path, f"expected a message or edits, found {shown(value)}")
    elements[target.index].Clear()
    parse_message_text(elements[target.index], value, target.path)
