"""Writes the config of a run next to its checkpoints."""

from __future__ import annotations

import os

from google.protobuf import text_format

from hvdrec import __version__
from hvdrec.config.config import Config
from hvdrec.errors import ConfigError

FILE_NAME = "pipeline.config"
_VERSION_FILE = "version"


def save(config: Config, model_dir: str | os.PathLike[str]) -> str:
    """Writes ``model_dir/pipeline.config``, and ``version`` next to it, as EasyRec does.

    Each file is replaced atomically.

    Args:
        config: The config, written as a text proto in UTF-8.
        model_dir: Created if it is missing.

    Returns:
        The path of the config.

    Raises:
        ConfigError: The file can't be written.
    """
    folder = os.fspath(model_dir)
    path = os.path.join(folder, FILE_NAME)
    _replace(path, text_format.MessageToString(config.proto, as_utf8=True))
    _replace(os.path.join(folder, _VERSION_FILE), f"{__version__}\n")
    return path


def _replace(path: str, written: str) -> None:
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
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
