"""Finds the store of a path; keys and addresses come from each store's usual places."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from hvdrec.errors import StorageError, UserError
from hvdrec.storage import oss
from hvdrec.storage.address import check, is_remote, local, scheme
from hvdrec.storage.retries import reason, seconds

#: Timeouts of a request in seconds: without a byte, and without a connection.
SILENCE_VARIABLE = "HVDREC_STORE_TIMEOUT"
_SILENCE, _CONNECT = 20.0, 5.0
#: Attempts of one request inside Arrow; further failures are handled by `retry`, which logs them.
_TRIES = 2

_registered: dict[str, Callable[[str], tuple[pafs.FileSystem, str]]] = {}


@dataclasses.dataclass(frozen=True)
class Place:
    """The target of a path.

    Attributes:
        filesystem: The store.
        path: The path in it.
        prefix: The part before `path` in the full path; empty for a local one.
    """

    filesystem: pafs.FileSystem
    path: str
    prefix: str


@dataclasses.dataclass(frozen=True)
class S3Settings:
    """The connection settings of an S3 service; empty ones are left to the library.

    Attributes:
        endpoint: ``host`` or ``host:port`` of a service other than Amazon's.
        transport: http or https.
        region: The bucket's region.
        key: Access key id.
        secret: Secret key.
        token: The session token of temporary keys.
        virtual: Whether the bucket is part of the host name.
        silence: Seconds without a byte after which a request fails.
    """

    endpoint: str = ""
    transport: str = "https"
    region: str = ""
    key: str = ""
    secret: str = dataclasses.field(default="", repr=False)
    token: str = dataclasses.field(default="", repr=False)
    virtual: bool = False
    silence: float = _SILENCE


def register_filesystem(name: str, resolve: Callable[[str], tuple[pafs.FileSystem, str]]) -> None:
    """Registers a kind of store.

    Args:
        name: The scheme before ``://`` in its paths.
        resolve: Maps a full path, ``name://...``, to the file system and the path in it.
    """
    _registered[name] = resolve


def locate(path: str) -> Place:
    """The store of a path, and the path in it.

    Raises:
        StorageError: The kind of store is unknown, or its requirements are not installed or configured.
        ConfigError: The path contains a key.
    """
    if not is_remote(path):
        return Place(pafs.LocalFileSystem(), local(path), "")
    check(path, "path")
    kind = scheme(path)
    resolve = _registered.get(kind) or _KINDS.get(kind)
    if resolve is None:
        known = ", ".join(f"{name}://" for name in sorted({*_KINDS, *_registered}))
        raise StorageError(f"{path}: {kind}:// paths are not supported; use {known} or a plain path")
    try:
        filesystem, inner = resolve(path)
    except UserError:
        raise
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        if isinstance(error, OSError) and kind not in ("hdfs", "viewfs"):
            raise
        raise StorageError(
            f"{path}: {kind}:// can't be used: {reason(error)}{_NEEDS.get(kind, '')}"
        ) from error
    return Place(filesystem, inner, path[: len(path) - len(inner)] if path.endswith(inner) else f"{kind}://")


def path_of(info: pafs.FileInfo) -> str:
    """The path of a file that was found.

    Raises:
        StorageError: It isn't UTF-8 text, so it can't be used; the message names the file.
    """
    try:
        return str(info.path)
    except UnicodeDecodeError as error:
        raise StorageError(f"{error.object!r}: the name of this file is not UTF-8 text; rename it") from None


def children(filesystem: pafs.FileSystem, folder: str) -> list[tuple[str, bool]]:
    """The contents of a folder: paths, and whether each is a folder; empty if the folder doesn't exist."""
    # Arrow's GCS client lists only folders that have their own object.
    deep = isinstance(filesystem, pafs.GcsFileSystem)
    found = filesystem.get_file_info(pafs.FileSelector(folder, recursive=deep, allow_not_found=True))
    if not deep:
        return [(path_of(info), info.type == pafs.FileType.Directory) for info in found]
    start = folder.rstrip("/") + "/"
    below = {}
    for info in found:
        name, slash, _ = info.path.removeprefix(start).partition("/")
        below[start + name] = bool(slash) or info.type == pafs.FileType.Directory
    return list(below.items())


def _s3(path: str) -> tuple[pafs.FileSystem, str]:
    """Uses AWS's variables and files (``~/.aws``); the region defaults to the bucket's."""
    inner = path.partition("://")[2]
    written = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    region = region or ("us-east-1" if written else "")
    settings = S3Settings(*_endpoint(written), region=region, silence=_silence())
    if not settings.region and not os.environ.get("AWS_PROFILE") and not settings.endpoint:
        settings = dataclasses.replace(settings, region=_region_of(inner.partition("/")[0]))
    return _s3_filesystem(settings), inner


@functools.lru_cache(maxsize=64)
def _region_of(bucket: str) -> str:
    return str(pafs.resolve_s3_region(bucket))


def _oss(path: str) -> tuple[pafs.FileSystem, str]:
    """Alibaba's store, through its S3-compatible interface."""
    inner = path.partition("://")[2]
    found = oss.settings(inner.partition("/")[0])
    endpoint, transport = _endpoint(found.endpoint)
    return (
        _s3_filesystem(
            S3Settings(
                oss.s3_host(endpoint),
                transport,
                found.region or oss.region_of(endpoint),
                found.key,
                found.secret,
                found.token,
                virtual=True,
                silence=_silence(),
            )
        ),
        inner,
    )


def _silence() -> float:
    return max(1.0, seconds(SILENCE_VARIABLE, _SILENCE))


def _endpoint(written: str) -> tuple[str, str]:
    """Host and transport of an endpoint with an optional scheme."""
    if not written:
        return "", "https"
    found = urlsplit(written if "://" in written else f"https://{written}")
    return found.netloc, found.scheme


@functools.lru_cache(maxsize=16)
def _s3_filesystem(settings: S3Settings) -> pafs.FileSystem:
    keywords: dict[str, Any] = {
        "region": settings.region or None,
        "request_timeout": settings.silence,
        "connect_timeout": min(_CONNECT, settings.silence),
        "allow_delayed_open": True,
        "background_writes": False,
        "retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
    }
    if settings.endpoint:
        # Few other services support Amazon's checksum trailers; OSS doesn't.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "WHEN_REQUIRED")
        keywords |= {"endpoint_override": settings.endpoint, "scheme": settings.transport}
        keywords["force_virtual_addressing"] = settings.virtual
    if settings.key:
        keywords |= {"access_key": settings.key, "secret_key": settings.secret}
        keywords["session_token"] = settings.token or None
    return pafs.S3FileSystem(**keywords)


def _gs(path: str) -> tuple[pafs.FileSystem, str]:
    """Uses Google's application default credentials."""
    return _gs_filesystem(os.environ.get("STORAGE_EMULATOR_HOST", "")), path.partition("://")[2]


@functools.lru_cache(maxsize=4)
def _gs_filesystem(emulator: str) -> pafs.FileSystem:
    keywords: dict[str, Any] = {"retry_time_limit": datetime.timedelta(seconds=_SILENCE)}
    if emulator:
        endpoint, transport = _endpoint(emulator)
        keywords |= {"endpoint_override": endpoint, "scheme": transport, "anonymous": True}
    return pafs.GcsFileSystem(**keywords)


def _hdfs(path: str) -> tuple[pafs.FileSystem, str]:
    """Uses Hadoop's configuration (``HADOOP_CONF_DIR``); without a host its ``fs.defaultFS``."""
    found = urlsplit(path)
    host = f"{found.scheme}://{found.hostname}" if found.scheme == "viewfs" else found.hostname or "default"
    return _hdfs_filesystem(host, found.port or 0), path.partition("://")[2][len(found.netloc) :] or "/"


@functools.lru_cache(maxsize=8)
def _hdfs_filesystem(host: str, port: int) -> pafs.FileSystem:
    return pafs.HadoopFileSystem(host, port, user=os.environ.get("HADOOP_USER_NAME"))


_KINDS: dict[str, Callable[[str], tuple[pafs.FileSystem, str]]] = {
    "s3": _s3,
    "s3a": _s3,
    "oss": _oss,
    "gs": _gs,
    "hdfs": _hdfs,
    "viewfs": _hdfs,
}
_NEEDS = dict.fromkeys(
    ("hdfs", "viewfs"),
    "; it needs Java and Hadoop's libraries: set JAVA_HOME, HADOOP_HOME and CLASSPATH "
    "(`hadoop classpath --glob`), see docs/files.md",
)
