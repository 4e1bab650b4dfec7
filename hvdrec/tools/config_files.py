"""Writes configs for the tools."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import json_format, text_format

from hvdrec.errors import ConfigError


def write_config(proto: Any, path: str, flag: str) -> None:
    """Writes an `EasyRecConfig` as a text proto (``.config``) or as JSON (``.json``) with the proto's field
    names.

    Args:
        proto: The config.
        path: The file's path; its folder is created if it is missing.
        flag: The flag with the path, for messages.

    Raises:
        ConfigError: The file extension is unsupported, or the file can't be written.
    """
    suffix = os.path.splitext(path)[1]
    if suffix == ".config":
        text = text_format.MessageToString(proto, as_utf8=True)
    elif suffix == ".json":
        text = json_format.MessageToJson(proto, preserving_proto_field_name=True, ensure_ascii=False) + "\n"
    else:
        raise ConfigError(f"{flag}: {path}: the file name must end in .config (text proto) or .json")
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        # The path may be the template's: it must not be lost when the disk is full.
        temporary = f"{path}.new"
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"{flag}: {path} can't be written: {error.strerror}") from error
