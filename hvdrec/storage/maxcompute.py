"""Tables of Alibaba's MaxCompute (``odps://project/tables/name/ds=1``), read through the tunnel of pyodps."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from hvdrec.errors import ConfigError, DataError, StorageError
from hvdrec.storage.retries import reason, retry, seconds
from hvdrec.storage.secrets import hide

T = TypeVar("T")

#: The path of a file with lines such as ``access_id=...``; EasyRec's `--odps_config` sets it.
CONFIG_VARIABLE = "ODPS_CONFIG_FILE_PATH"
_SCHEME = "odps://"
_FORM = "odps://PROJECT/tables/TABLE, optionally with /PARTITION=VALUE"
_NAME = re.compile(r"\w+")
_SILENCE_VARIABLE, _SILENCE_SECONDS = "HVDREC_STORE_TIMEOUT", 60.0
#: Codes of transient service errors; the tunnel's errors have no status.
_PASSING = re.compile(r"^\w*(Internal|Unavailable|Timeout|Throttl|FlowExceeded|QuotaExceeded|Gateway)")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, or one partition of a table.

    Attributes:
        name: The path as written.
        project: Its project.
        table: The table's name.
        partition: Such as ``ds=20200101,hh=03``; empty for a table without partitions.
    """

    name: str
    project: str
    table: str
    partition: str

    def size(self) -> int:
        """The number of rows, 0 if unknown."""
        try:
            return self.open().rows
        except (DataError, StorageError):
            return 0

    def fingerprint(self) -> str:
        """The table's name, because nothing but the number of rows is known without reading them."""
        return self.name

    def open(self) -> Snapshot:
        """Opens the current version of the table.

        Raises:
            DataError: The table or partition doesn't exist, or can't be read.
            StorageError: MaxCompute can't be used, or failed for too long.
        """
        service = _service(self.project)
        partition = self.partition or None

        def begin() -> Any:
            tunnel = _module("odps.tunnel").TableTunnel(service)
            return tunnel.create_download_session(self.table, partition_spec=partition)

        return Snapshot(self, _asked(self.name, begin))


class Snapshot:
    """The rows that a table had when it was opened.

    Attributes:
        rows: The number of rows.
        name: The table's.
        schema: Its columns; partition columns come last.
    """

    def __init__(self, table: Table, session: Any) -> None:
        self.rows = int(session.count or 0)
        self.name = table.name
        self._table = table
        self._session = session
        types = _module("odps.tunnel.io.types")
        pairs = [(c.name, types.odps_type_to_arrow_type(c.type)) for c in session.schema.columns]
        self.schema = pa.schema(pairs)

    def batches(self, first: int, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows starting at `first`, in pieces as they arrive; resumes a broken stream.

        Args:
            first: Counted from 0.
            rows: The number of rows.
            columns: The columns, in the order of the result.

        Raises:
            DataError: The rows can't be read.
            StorageError: MaxCompute failed for too long.
        """
        done = 0
        reader: Any = None

        def piece() -> pa.RecordBatch:
            nonlocal reader
            try:
                if reader is None:
                    reader = self._session.open_arrow_reader(
                        first + done, rows - done, columns=list(columns), append_partitions=True
                    )
                batch = reader.read_next_batch()
                if batch is None:
                    raise ConnectionError(f"the stream ended after {done} of {rows} rows")
                return batch
            except BaseException:
                reader = None
                raise

        while done < rows:
            batch = _asked(self._table.name, piece)
            done += batch.num_rows
            yield batch


def is_table(path: str) -> bool:
    """Whether a path is a table's."""
    return path.strip().lower().startswith(_SCHEME)


def tables(paths: Sequence[str], what: str) -> list[Table]:
    """The tables in `paths`, in order.

    Args:
        paths: Each item is one path, or several comma-separated ones.
        what: The setting they come from, for messages.

    Raises:
        ConfigError: A path isn't a table's, or there is none.
    """
    found = [_table(path.strip(), what) for item in paths for path in item.split(",") if path.strip()]
    if not found:
        raise ConfigError(f"{what}: no table is given")
    return found


def _table(path: str, what: str) -> Table:
    if not is_table(path):
        raise ConfigError(
            f"{what}: {path} is not a MaxCompute table ({_FORM}), which OdpsInput needs; read files "
            "with data_config.input_type CSVInput or ParquetInput"
        )
    project, *rest = path[len(_SCHEME) :].rstrip("/").split("/")
    if len(rest) < 2 or rest[0] != "tables" or not (_NAME.fullmatch(project) and _NAME.fullmatch(rest[1])):
        raise ConfigError(f"{what}: {path} must have the form {_FORM}")
    for part in rest[2:]:
        name, equals, value = part.partition("=")
        if not (_NAME.fullmatch(name) and equals and value) or "'" in value or '"' in value:
            raise ConfigError(f"{what}: {path} has {part!r} in place of PARTITION=VALUE")
    return Table(path, project, rest[1], ",".join(rest[2:]))


@dataclasses.dataclass(frozen=True)
class _Settings:
    key: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)
    endpoint: str = ""
    tunnel: str = ""


def _settings() -> _Settings:
    """Keys and address, from the file of `--odps_config`, else from Alibaba's variables."""
    path = os.environ.get(CONFIG_VARIABLE, "")
    file = _config_file(path) if path else {}
    variables = os.environ
    found = _Settings(
        file.get("access_id") or variables.get("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
        file.get("access_key") or variables.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
        file.get("sts_token") or variables.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
        file.get("end_point") or variables.get("ODPS_ENDPOINT", ""),
        file.get("tunnel_endpoint") or variables.get("ODPS_TUNNEL_ENDPOINT", ""),
    )
    if not (found.key and found.secret and found.endpoint):
        raise StorageError(
            "MaxCompute's keys and address are not set; give a file with the lines access_id=..., "
            f"access_key=... and end_point=... in --odps_config (or {CONFIG_VARIABLE}), or set "
            "ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ODPS_ENDPOINT"
        )
    hide(found.secret)
    hide(found.token)
    return found


def _config_file(path: str) -> dict[str, str]:
    """Parses lines ``name=value``; ``#`` starts a comment and ``[`` a section, as in odpscmd's files."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # The text of a decoding error may contain keys.
        why = error.strerror if isinstance(error, OSError) else "not a text file"
        raise StorageError(f"{CONFIG_VARIABLE}: {path} can't be read: {why}") from None
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", "[")))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StorageError(
            "MaxCompute tables need the extra odps; run pip install pyodps, or export "
            f"the table to CSV or Parquet files: {error}"
        ) from None


def _service(project: str) -> Any:
    return _connected(project, _settings(), max(1, round(seconds(_SILENCE_VARIABLE, _SILENCE_SECONDS))))


@functools.lru_cache(maxsize=16)
def _connected(project: str, settings: _Settings, silence: int) -> Any:
    odps = _module("odps")
    # pyodps logs tokens at level INFO.
    logging.getLogger("odps").setLevel(logging.WARNING)
    odps.options.read_timeout = odps.options.connect_timeout = silence
    # `retry` waits and tries again, and logs it.
    odps.options.retry_times = 0
    account = odps.accounts.AliyunAccount(settings.key, settings.secret)
    if settings.token:
        account = odps.accounts.StsAccount(settings.key, settings.secret, settings.token)
    return odps.ODPS(
        account=account,
        project=project,
        endpoint=settings.endpoint,
        tunnel_endpoint=settings.tunnel or None,
    )


def _asked(name: str, work: Callable[[], T]) -> T:
    """The result of `work`; it is retried while the service fails, and other errors are converted."""
    errors = _module("odps.errors")
    broken = (
        pa.ArrowException,
        _module("urllib3.exceptions").HTTPError,
        _module("odps.tunnel.pb.errors").DecodeError,
    )

    def asked() -> T:
        try:
            return work()
        except errors.BaseODPSError as error:
            status = getattr(error, "status_code", None) or 0
            text = f"{getattr(error, 'code', None) or type(error).__name__}: {(*error.args, '')[0]}"
            if isinstance(error, OSError) or status in (408, 429) or status >= 500 or _PASSING.search(text):
                raise ConnectionError(text) from error
            raise DataError(f"{name}: can't be read: {reason(RuntimeError(text))}") from error
        except broken as error:
            raise ConnectionError(f"the stream of rows broke: {error}") from error

    return retry(name, asked)
