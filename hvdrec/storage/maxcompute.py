"""Tables of Alibaba's MaxCompute (``odps://project/tables/name/ds=1``), read through pyodps' tunnel."""

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

#: A file with lines as ``access_id=...``: what EasyRec's `--odps_config` sets.
CONFIG_VARIABLE = "ODPS_CONFIG_FILE_PATH"
_SCHEME = "odps://"
_FORM = "odps://PROJECT/tables/TABLE, and maybe /PARTITION=VALUE"
_NAME = re.compile(r"\w+")
_SILENCE_VARIABLE, _SILENCE_SECONDS = "HVDREC_STORE_TIMEOUT", 60.0
#: Errors of the service that may pass, by their codes; the tunnel's have no status.
_PASSING = re.compile(r"^\w*(Internal|Unavailable|Timeout|Throttl|FlowExceeded|QuotaExceeded|Gateway)")


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, or one partition of one.

    Attributes:
        name: As it was written.
        project: The project it is in.
        table: Its own name.
        partition: As ``ds=20200101,hh=03``; empty for all of a table without partitions.
    """

    name: str
    project: str
    table: str
    partition: str

    def size(self) -> int:
        """Its rows, 0 where that can't be known."""
        try:
            return self.open().rows
        except (DataError, StorageError):
            return 0

    def fingerprint(self) -> str:
        """Its name: of what is in it, only the number of rows is known without reading them."""
        return self.name

    def open(self) -> Snapshot:
        """Opens the table as it is now.

        Raises:
            DataError: There is no such table or partition, or it can't be read.
            StorageError: MaxCompute can't be used, or has failed for too long.
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
        rows: How many.
        schema: Its columns, those of its partition last.
    """

    def __init__(self, table: Table, session: Any) -> None:
        self.rows = int(session.count or 0)
        self._table = table
        self._session = session
        types = _module("odps.tunnel.io.types")
        pairs = [(c.name, types.odps_type_to_arrow_type(c.type)) for c in session.schema.columns]
        self.schema = pa.schema(pairs)

    def batches(self, first: int, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows from `first` on, in pieces as they arrive; goes on where a stream has broken off.

        Args:
            first: Counted from 0.
            rows: How many.
            columns: Their columns, in the order of the result.

        Raises:
            DataError: They can't be read.
            StorageError: MaxCompute has failed for too long.
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
                    raise ConnectionError(f"the rows ended after {done} of {rows}")
                return batch
            except BaseException:
                reader = None
                raise

        while done < rows:
            batch = _asked(self._table.name, piece)
            done += batch.num_rows
            yield batch


def is_table(path: str) -> bool:
    """Whether a path is that of a table."""
    return path.strip().lower().startswith(_SCHEME)


def tables(paths: Sequence[str], what: str) -> list[Table]:
    """The tables that `paths` name, in their order.

    Args:
        paths: Each one path, or several with commas between.
        what: The setting they come from, for messages.

    Raises:
        ConfigError: A path isn't one of a table, or there is none.
    """
    found = [_table(path.strip(), what) for item in paths for path in item.split(",") if path.strip()]
    if not found:
        raise ConfigError(f"{what}: names no table")
    return found


def _table(path: str, what: str) -> Table:
    if not is_table(path):
        raise ConfigError(
            f"{what}: {path} is no table of MaxCompute, which OdpsInput reads ({_FORM}); files are read by "
            "data_config.input_type CSVInput or ParquetInput"
        )
    project, *rest = path[len(_SCHEME) :].rstrip("/").split("/")
    if len(rest) < 2 or rest[0] != "tables" or not (_NAME.fullmatch(project) and _NAME.fullmatch(rest[1])):
        raise ConfigError(f"{what}: {path} should be {_FORM}")
    for part in rest[2:]:
        name, equals, value = part.partition("=")
        if not (_NAME.fullmatch(name) and equals and value) or "'" in value or '"' in value:
            raise ConfigError(f"{what}: {path} has {part!r} where PARTITION=VALUE should be")
    return Table(path, project, rest[1], ",".join(rest[2:]))


@dataclasses.dataclass(frozen=True)
class _Settings:
    key: str
    secret: str = dataclasses.field(repr=False)
    token: str = dataclasses.field(repr=False)
    endpoint: str = ""
    tunnel: str = ""


def _settings() -> _Settings:
    """Keys and address: from the file of `--odps_config`, else from Alibaba's variables."""
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
            f"access_key=... and end_point=... by --odps_config (or {CONFIG_VARIABLE}), or set "
            "ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ODPS_ENDPOINT"
        )
    hide(found.secret)
    hide(found.token)
    return found


def _config_file(path: str) -> dict[str, str]:
    """Lines as ``name=value``; ``#`` begins a comment and ``[`` a heading, as in odpscmd's files."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # The text of a decoding error may hold keys.
        why = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise StorageError(f"{CONFIG_VARIABLE}: {path} can't be read: {why}") from None
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith(("#", "[")))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StorageError(
            "tables of MaxCompute need the extra odps: pip install pyodps (or export the table to CSV or "
            f"Parquet files and give their paths): {error}"
        ) from None


def _service(project: str) -> Any:
    return _connected(project, _settings(), max(1, round(seconds(_SILENCE_VARIABLE, _SILENCE_SECONDS))))


@functools.lru_cache(maxsize=16)
def _connected(project: str, settings: _Settings, silence: int) -> Any:
    odps = _module("odps")
    # It logs tokens at INFO.
    logging.getLogger("odps").setLevel(logging.WARNING)
    odps.options.read_timeout = odps.options.connect_timeout = silence
    # Waiting and asking again is up to `retry`, which logs it.
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
    """What `work` gets from MaxCompute; again while the service fails, an error of ours otherwise."""
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
            raise ConnectionError(f"the stream of rows is broken: {error}") from error

    return retry(name, asked)
