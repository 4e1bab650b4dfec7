"""Paths as written by users: plain ones, and ``scheme://bucket/name``."""

from __future__ import annotations

import os
import posixpath
import re

from hvdrec.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme(path: str) -> str:
    """The scheme before ``://``, in lower case; empty for a plain path."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def is_remote(path: str) -> bool:
    """Whether a path is in a store; ``file://`` and plain paths are not."""
    return scheme(path) not in ("", "file")


def local(path: str) -> str:
    """A path without ``file://``; a store's path unchanged."""
    if scheme(path) != "file":
        return path
    rest = path[len("file://") :]
    return rest[len("localhost") :] if rest.startswith("localhost/") else rest


def join(folder: str, *names: str) -> str:
    """Joins a folder and a relative path."""
    if not is_remote(folder):
        return os.path.join(local(folder), *names)
    return "/".join([folder.rstrip("/"), *(name.strip("/") for name in names)])


def name(path: str) -> str:
    """The last component of a path."""
    return posixpath.basename(path.rstrip("/"))


def parent(path: str) -> str:
    """The parent folder of a path."""
    return posixpath.dirname(path.rstrip("/")) if is_remote(path) else os.path.dirname(local(path))


def check(path: str, what: str) -> None:
    """Refuses tables where files are expected, and keys in paths, because paths are written to logs and
    files.

    Args:
        path: One path or several comma-separated ones.
        what: The setting it comes from, for messages.

    Raises:
        ConfigError: A path is a table, or has text before an ``@`` in place of a bucket or host.
    """
    for part in path.split(","):
        found = _SCHEME.match(part.strip())
        if found and found[1].lower() == "odps":
            raise ConfigError(
                f"{what}: {part.strip()} is a MaxCompute table, but files are expected here; read tables "
                "as train and eval input with data_config.input_type OdpsInput, "
                "or export the table to CSV or Parquet"
            )
        if found and "@" in part.strip()[found.end() :].partition("/")[0]:
            raise ConfigError(
                f"{what}: a {found[1]}:// path must not contain a user or key before an @; give keys in "
                "environment variables or the store's own files (docs/files.md)"
            )
