"""Files that travel with an exported model (`asset_files`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from hvdrec.errors import ConfigError
from hvdrec.storage import is_file
from hvdrec.storage.address import scheme


def asset_files(listed: Sequence[str]) -> list[tuple[str, str]]:
    """Names below ``assets`` with their sources.

    Args:
        listed: ``path``, kept under its own name, or ``new/name:path``; a ``!`` in front, which
            EasyRec's platforms need, is left out.

    Raises:
        ConfigError: A file isn't there, or a name leads out of ``assets``.
    """
    found = []
    for entry in listed:
        written = entry.strip().removeprefix("!")
        if not written:
            continue
        name, colon, source = written.partition(":")
        if not colon or scheme(written):
            name, source = PurePosixPath(written).name, written
        target = PurePosixPath(name)
        if target.is_absolute() or ".." in target.parts or not target.parts:
            raise ConfigError(f"asset_files: {name!r} must be a name below assets")
        if not is_file(source):
            raise ConfigError(f"asset_files: there is no file {source}")
        found.append((str(target), source))
    return found
