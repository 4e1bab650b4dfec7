"""Paths as users write them: plain ones, and ``scheme://bucket/name``."""

from __future__ import annotations

import os
import posixpath
import re

from hvdrec.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme(path: str) -> str:
    """What stands before ``://``, in lower case; empty for a plain path."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def is_remote(path: str) -> bool:
    """Whether a path leads to a store; ``file://`` and plain paths don't."""
    return scheme(path) not in ("", "file")


def local(path: str) -> str:
    """A path without ``file://``; one of a store as it is."""
    if scheme(path) != "file":
        return path
    rest = path[len("file://") :]
    return rest[len("localhost") :] if rest.startswith("localhost/") else rest


def join(folder: str, *names: str) -> str:
    """A path below a folder."""
    if not is_remote(folder):
        return os.path.join(local(folder), *names)
    return "/".join([folder.rstrip("/"), *(name.strip("/") for name in names)])


def name(path: str) -> str:
    """A path's last part."""
    return posixpath.basename(path.rstrip("/"))


def parent(path: str) -> str:
    """The folder a path is in."""
    return posixpath.dirname(path.rstrip("/")) if is_remote(path) else os.path.dirname(local(path))


def check(path: str, what: str) -> None:
    """Refuses tables where files are meant, and keys in paths, as these are written to logs and files.

    Args:
        path: One path or several with commas between.
        what: The setting it comes from, for messages.

    Raises:
        ConfigError: It is a table, or something stands before an ``@`` where bucket or host should be.
    """
    for part in path.split(","):
        found = _SCHEME.match(part.strip())
        if found and found[1].lower() == "odps":
            raise ConfigError(
                f"{what}: {part.strip()} is a MaxCompute table where files are meant; tables are read as "
                "train and eval input by data_config.input_type OdpsInput, or export it to CSV or Parquet"
            )
        if found and "@" in part.strip()[found.end() :].partition("/")[0]:
            raise ConfigError(
                f"{what}: a path of {found[1]}:// has no user or key before an @; give keys by the "
                "environment or the store's own files (docs/files.md)"
            )
