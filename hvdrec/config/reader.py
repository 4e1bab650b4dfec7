"""Reads a pipeline.config."""

from __future__ import annotations

import json
import os

from hvdrec.config import json_source, text
from hvdrec.config.config import Config, parent_path
from hvdrec.config.fg_json import load_fg_json
from hvdrec.config.protos import pipeline_pb2
from hvdrec.config.values import FieldValueError, merge_value
from hvdrec.errors import ConfigError
from hvdrec.storage import local, read_text

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
        raise ConfigError(f"{_place(path, error.line, error.column)}: {error.problem}") from None
    except RecursionError:
        raise ConfigError(f"{path}: messages are nested too deeply") from None


def _read(path: str) -> str:
    try:
        return read_text(path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: can't be read: {reason}") from None


def _place(path: str, line: int, column: int = 0) -> str:
    return ":".join([path, *(str(n) for n in (line, column) if n)])


def _from_json(path: str, content: str) -> Config:
    proto = pipeline_pb2.EasyRecConfig()
    lines: dict[str, int] = {}
    try:
        value = json_source.parse(content)
        lines = json_source.locate(content, proto.DESCRIPTOR)
        merge_value(proto, value, "")
    except json.JSONDecodeError as error:
        raise ConfigError(f"{_place(path, error.lineno, error.colno)}: {error.msg}") from None
    except FieldValueError as error:
        outer = error.at if error.at in lines else error.path
        while outer and outer not in lines:
            outer = parent_path(outer)
        raise ConfigError(f"{_place(path, lines.get(outer, 1))}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: values are nested too deeply") from None
    return _with_fg_json(Config(proto, path, dict(lines)))


def _with_fg_json(config: Config) -> Config:
    load_fg_json(config)
    return config
