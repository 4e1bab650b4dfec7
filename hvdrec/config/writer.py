"""Writes the config a run uses beside its checkpoints."""

from __future__ import annotations

import os

from google.protobuf import text_format

from hvdrec.config.config import Config
from hvdrec.errors import ConfigError

FILE_NAME = "pipeline.config"


def save(config: Config, model_dir: str | os.PathLike[str]) -> str:
    """Writes ``model_dir/pipeline.config``; the file is replaced whole or not at all.

    Args:
        config: What to write, as a text proto in UTF-8.
        model_dir: Made where it is missing.

    Returns:
        The file's path.

    Raises:
        ConfigError: It can't be written.
    """
    path = os.path.join(os.fspath(model_dir), FILE_NAME)
    temporary = f"{path}.tmp-{os.getpid()}"
    written = text_format.MessageToString(config.proto, as_utf8=True)
    try:
        os.makedirs(model_dir, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        if os.path.exists(temporary):
            os.remove(temporary)
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"model_dir: {path} can't be written: {reason}") from None
    return path
