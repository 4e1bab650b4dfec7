"""Reads a pipeline.config."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from hvdrec.config import json_source, text
from hvdrec.config.config import Config, parent_path
from hvdrec.config.fg_json import load_fg_json
from hvdrec.config.protos import pipeline_pb2
from hvdrec.config.values import FieldValueError, merge_value
from hvdrec.errors import ConfigError
from hvdrec.storage import local, read_text

#: More mistakes than these mean that the file is something else.
_MOST_MISTAKES = 20
_TEXT_SUFFIXES = (".config", ".prototxt", ".txt")


def load(path: str | os.PathLike[str]) -> Config:
    """Reads a config as EasyRec does: no field is required, and the last of several values is used.

    Args:
        path: A text proto (``.config``, ``.prototxt``, ``.txt``) or protobuf JSON (``.json``; the
            proto's field names or their camelCase forms).

    Returns:
        The config as written in the file, plus the contents of its `fg_json_path`.

    Raises:
        ConfigError: The file can't be read or isn't a config, or the fg.json isn't valid.
    """
    path = local(os.fspath(path))
    suffix = os.path.splitext(path)[1]
    if suffix != ".json" and suffix not in _TEXT_SUFFIXES:
        raise ConfigError(
            f"{path}: the file name of a config must end in {', '.join(_TEXT_SUFFIXES)} (text proto) or .json"
        )
    content = _read(path)
    if suffix == ".json":
        return _from_json(path, content)
    proto = pipeline_pb2.EasyRecConfig()
    try:
        text.merge(content, proto)
        return _with_fg_json(Config(proto, path, dict(text.locate(content, proto.DESCRIPTOR))))
    except text.TextError as error:
        found = (f"{_place(path, e.line, e.column)}: {e.problem}" for e in (error, *error.more))
        raise ConfigError("\n".join(dict.fromkeys(found))) from None
    except RecursionError:
        raise ConfigError(f"{path}: messages are nested too deeply") from None


def _read(path: str) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_place(path, line)}: not UTF-8 text (byte {error.start} of the file)") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: can't be read: {reason}") from None


def _place(path: str, line: int, column: int = 0) -> str:
    return ":".join([path, *(str(n) for n in (line, column) if n)])


def _from_json(path: str, content: str) -> Config:
    try:
        value = json_source.parse(content)
        lines = json_source.locate(content, pipeline_pb2.EasyRecConfig.DESCRIPTOR)
        proto = _merged(path, value, lines)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{_place(path, error.lineno, error.colno)}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}: values are nested too deeply") from None
    return _with_fg_json(Config(proto, path, dict(lines)))


def _merged(path: str, value: Any, lines: Mapping[str, int]) -> pipeline_pb2.EasyRecConfig:
    """The config of a JSON value.

    Raises:
        ConfigError: It isn't one; a line for each field that can't be used.
    """
    problems: list[str] = []
    while True:
        proto = pipeline_pb2.EasyRecConfig()
        try:
            merge_value(proto, value, "")
        except FieldValueError as error:
            outer = error.at if error.at in lines else error.path
            while outer and outer not in lines:
                outer = parent_path(outer)
            problems.append(f"{_place(path, lines.get(outer, 1))}: {error}")
            if len(problems) < _MOST_MISTAKES and json_source.remove(value, error.at):
                continue
        if problems:
            raise ConfigError("\n".join(problems))
        return proto


def _with_fg_json(config: Config) -> Config:
    load_fg_json(config)
    return config
