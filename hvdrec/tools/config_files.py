"""Configs as the tools write them."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import json_format, text_format

from hvdrec.errors import ConfigError


def write_config(proto: Any, path: str, flag: str) -> None:
    """Writes an `EasyRecConfig` as a text proto (``.config``) or as JSON (``.json``) with the proto's names.

    Args:
        proto: It.
        path: Of the file; its folder is made where it is missing.
        flag: That names it, for messages.

    Raises:
        ConfigError: The ending is another, or the file can't be written.
    """
    suffix = os.path.splitext(path)[1]
    if suffix == ".config":
        text = text_format.MessageToString(proto, as_utf8=True)
    elif suffix == ".json":
        text = json_format.MessageToJson(proto, preserving_proto_field_name=True, ensure_ascii=False) + "\n"
    else:
        raise ConfigError(f"{flag}: {path}: a config is written as .config (text proto) or .json")
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{flag}: {path} can't be written: {error.strerror}") from error
