"""Opens this rank's rows for a config: chooses the reader, the files and the share."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from hvdrec.config.labels import read_labels
from hvdrec.config.protos import dataset_pb2
from hvdrec.data.batch import BEGINNING, InputPosition
from hvdrec.data.criteo_input import CriteoFile, CriteoFormat, criteo_files
from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.dummy_input import DummyFormat, DummyRows
from hvdrec.data.files import list_files
from hvdrec.data.kafka.source import KafkaSource, stretch_of
from hvdrec.data.kafka.topic import Partition
from hvdrec.data.odps_input import OdpsFormat
from hvdrec.data.odps_rtp_input import OdpsRtpFormat
from hvdrec.data.orc_input import OrcFormat, are_orc
from hvdrec.data.parquet_input import ParquetFormat
from hvdrec.data.rows import FieldLike, Format, RowsFile
from hvdrec.data.rtp_input import RtpFormat
from hvdrec.data.rtp_pairs_input import RtpPairsFormat
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.data.tfrecord_input import TfRecordFormat
from hvdrec.errors import ConfigError
from hvdrec.storage.maxcompute import is_table, tables

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What to read: the data_config, the input paths, and the columns.

    Attributes:
        data_config: The config's data_config.
        paths: The paths as written, or the input type's message.
        what: The setting they come from, for messages.
        fields: The requested columns.
        keep_raw: Whether to read all other columns too.
    """

    data_config: Any
    paths: Sequence[Any]
    what: str
    fields: Sequence[FieldLike]
    keep_raw: bool

    def declared(self) -> dict[str, str]:
        """The type of each declared field."""
        kinds = dataset_pb2.DatasetConfig.FieldType
        return {field.input_name: kinds.Name(field.input_type) for field in self.data_config.input_fields}

    def selected_cols(self) -> list[str]:
        return [name.strip() for name in self.data_config.selected_cols.split(",") if name.strip()]

    def ignore_selected_cols(self, where: str) -> None:
        if self.data_config.selected_cols:
            _log.warning("data_config.selected_cols: has no effect on %s", where)


def _open_csv(wanted: _Wanted, null: bytes | None = None) -> Format:
    data_config = wanted.data_config
    if not data_config.with_header:
        wanted.ignore_selected_cols("CSV files without a header")
    return CsvFormat(
        list_files(wanted.paths, wanted.what),
        wanted.fields,
        [field.input_name for field in data_config.input_fields],
        separator=data_config.separator,
        with_header=data_config.with_header,
        quoting=data_config.csv_quoting,
        null=null,
        selected=wanted.selected_cols(),
        keep_raw=wanted.keep_raw,
    )


def _open_parquet(wanted: _Wanted) -> Format:
    wanted.ignore_selected_cols("Parquet files")
    files = list_files(wanted.paths, wanted.what)
    ignored = {
        f.input_name: f.ignore_val for f in wanted.data_config.input_fields if f.HasField("ignore_val")
    }
    return ParquetFormat(files, wanted.fields, wanted.declared(), keep_raw=wanted.keep_raw, ignored=ignored)


def _open_odps(wanted: _Wanted) -> Format:
    found = tables(wanted.paths, wanted.what)
    return OdpsFormat(
        found, wanted.fields, wanted.declared(), selected=wanted.selected_cols(), keep_raw=wanted.keep_raw
    )


def _open_rtp(wanted: _Wanted) -> Format:
    data_config = wanted.data_config
    try:
        selected = [int(number) for number in data_config.selected_cols.split(",")]
    except ValueError:
        raise ConfigError(
            f"data_config.selected_cols: {data_config.selected_cols!r} must be comma-separated column "
            "numbers: one for each label, then one for the features"
        ) from None
    return RtpFormat(
        list_files(wanted.paths, wanted.what),
        wanted.fields,
        [field.input_name for field in data_config.input_fields],
        labels=read_labels(data_config),
        selected=selected,
        rtp_separator=data_config.rtp_separator,
        separator=data_config.separator,
        keep_raw=wanted.keep_raw,
    )


def _open_rtp_pairs(wanted: _Wanted) -> Format:
    wanted.ignore_selected_cols("files of RTPInputV2")
    files = list_files(wanted.paths, wanted.what)
    return RtpPairsFormat(files, wanted.fields, list(wanted.declared()), keep_raw=wanted.keep_raw)


def _open_odps_rtp(wanted: _Wanted) -> Format:
    if not _are_tables(wanted.paths):
        return _open_rtp(wanted)
    return OdpsRtpFormat(
        tables(wanted.paths, wanted.what),
        wanted.fields,
        wanted.declared(),
        selected=wanted.selected_cols(),
        separator=wanted.data_config.separator,
        keep_raw=wanted.keep_raw,
    )


def _are_tables(paths: Sequence[Any]) -> bool:
    return any(is_table(path.strip()) for given in paths for path in str(given).split(","))


def _open_hive(wanted: _Wanted) -> Format:
    files = list_files(wanted.paths, wanted.what)
    if not are_orc(files):
        return _open_csv(wanted, _HIVE_NULL)
    wanted.ignore_selected_cols("ORC files")
    return OrcFormat(files, wanted.fields, wanted.declared(), keep_raw=wanted.keep_raw)


def _open_tfrecord(wanted: _Wanted, sequences: bool = False) -> Format:
    data_config = wanted.data_config
    wanted.ignore_selected_cols("TFRecord files")
    return TfRecordFormat(
        list_files(wanted.paths, wanted.what),
        wanted.fields,
        {field.input_name: field.input_shape for field in data_config.input_fields},
        sequences=sequences,
        compression=data_config.data_compression_type,
        keep_raw=wanted.keep_raw,
    )


def _open_criteo(wanted: _Wanted) -> Format:
    wanted.ignore_selected_cols("Criteo's binary files")
    found = _criteo_files(wanted.paths, wanted.what)
    return CriteoFormat(found, wanted.fields, wanted.declared(), keep_raw=wanted.keep_raw)


def _criteo_files(paths: Sequence[Any], what: str) -> Sequence[CriteoFile]:
    if any(isinstance(path, str) for path in paths):
        raise ConfigError(
            f"{what}: CriteoInput reads the files in binary_train_input and binary_eval_input of the config"
        )
    return [file for path in paths for file in criteo_files(path, what)]


def _open_dummy(wanted: _Wanted) -> Format:
    return DummyFormat(_DUMMY, wanted.fields)


# The rows per epoch of DummyInput.
_DUMMY = [DummyRows(1 << 16)]

#: How Hive writes NULL into text files.
_HIVE_NULL = b"\\N"
_KAFKA = "KafkaInput"
# Readers by `data_config.input_type`, except KafkaInput, which doesn't read files.
INPUT_TYPES: dict[str, Callable[[_Wanted], Format]] = {
    "CSVInput": _open_csv,
    "CSVInputV2": _open_csv,
    "CSVInputEx": _open_csv,
    "OdpsInput": _open_odps,
    "OdpsInputV2": _open_odps,
    "OdpsInputV3": _open_odps,
    "HiveInput": _open_hive,
    "HiveRTPInput": _open_rtp,
    "OdpsRTPInput": _open_odps_rtp,
    "RTPInputV2": _open_rtp_pairs,
    "HiveParquetInput": _open_parquet,
    "CriteoInput": _open_criteo,
    "DummyInput": _open_dummy,
    "RTPInput": _open_rtp,
    "TFRecordInput": _open_tfrecord,
    "BatchTFRecordInput": functools.partial(_open_tfrecord, sequences=True),
    "ParquetInput": _open_parquet,
    "ParquetInputV2": _open_parquet,
    "ParquetInputV3": _open_parquet,
}


#: All that `data_config.input_type` may be.
ALL_INPUT_TYPES = (*INPUT_TYPES, _KAFKA)


def open_source(
    proto: Any,
    *,
    paths: Sequence[Any] | None = None,
    fields: Sequence[FieldLike],
    rank: int = 0,
    size: int = 1,
    training: bool,
    start: InputPosition = BEGINNING,
    seed: int = 2020,
    keep_raw: bool = False,
    named: str | None = None,
) -> RowSource:
    """Opens the input of one rank.

    Training uses `num_epochs`, `shuffle`, `shuffle_buffer_size`, `drop_remainder`, `file_shard` and
    `batch_size` (rows per rank) of `data_config`. Otherwise the input is one pass in file order, and whole
    batches of `eval_batch_size` rows (if set, else `batch_size`) are distributed to the ranks round-robin.

    Args:
        proto: An EasyRecConfig.
        paths: Files, globs, folders or tables to read instead of the config's.
        fields: The requested columns, in the order of the result.
        rank: This rank.
        size: Number of ranks.
        training: Whether to read for training.
        start: The position to start from.
        seed: Seed of the order; the same on all ranks.
        keep_raw: Also read all other columns, after those of `fields`.
        named: The flag that gave `paths`, for messages, such as ``--input_path``.

    Returns:
        An iterable of RowBlock with `close()`.

    Raises:
        ConfigError: The config has no input, or one that can't be read.
        DataError: A path matches no file or table.
    """
    data_config = proto.data_config
    open_format = INPUT_TYPES.get(_input_type(data_config))
    if open_format is None and not is_stream(proto):
        raise ConfigError(
            f"data_config.input_type: {_input_type(data_config)} is not supported; "
            f"use one of {', '.join(ALL_INPUT_TYPES)}"
        )
    what, configured = _input_paths(proto, training)
    batch_size = data_config.batch_size
    if not training and data_config.HasField("eval_batch_size"):
        batch_size = data_config.eval_batch_size
    if batch_size < 1:
        raise ConfigError("data_config.batch_size: must be at least 1")
    plan = ReadPlan(
        batch_size=batch_size,
        rank=rank,
        size=size,
        epochs=data_config.num_epochs if training else 1,
        shuffle=training and data_config.shuffle,
        shuffle_buffer=data_config.shuffle_buffer_size,
        seed=seed,
        whole_batches=not training,
        shard_files=training and data_config.file_shard,
        drop_remainder=training and data_config.drop_remainder,
        ignore_error=data_config.ignore_error,
    )
    given = [configured] if paths is None else paths
    if is_stream(proto):
        return KafkaSource(
            _topic(given, named or what),
            named or what,
            dataclasses.replace(plan, shuffle=False, shard_files=training),
            start,
            fields=fields,
            declared=[field.input_name for field in data_config.input_fields],
            separator=data_config.separator,
            keep_raw=keep_raw,
        )
    wanted = _Wanted(data_config, given, named or what, fields, keep_raw)
    assert open_format is not None
    return RowSource(open_format(wanted), plan, start)


def input_files(proto: Any, training: bool, paths: Sequence[Any] | None = None) -> Sequence[RowsFile]:
    """The files or tables that `open_source` reads, in listed order.

    Args:
        proto: An EasyRecConfig.
        training: Whether to list the training input or the evaluation input.
        paths: Files, globs, folders or tables instead of the config's.

    Raises:
        ConfigError: A path is not a table's.
        DataError: A path matches no file.
    """
    what, configured = _input_paths(proto, training)
    named = [configured] if paths is None else paths
    if is_stream(proto):
        topic = _topic(named, what)
        # Only its name: neither its current content nor its number of partitions.
        return [Partition(f"kafka topic {topic.topic}")] if topic else []
    open_format = INPUT_TYPES.get(_input_type(proto.data_config))
    if open_format is _open_odps or (open_format is _open_odps_rtp and _are_tables(named)):
        return tables(named, what)
    if open_format is _open_criteo:
        return _criteo_files(named, what)
    if open_format is _open_dummy:
        return _DUMMY
    return list_files(named, what)


def is_stream(proto: Any) -> bool:
    """Whether training reads a topic of Kafka."""
    return _input_type(proto.data_config) == _KAFKA


def waits_for_rows(proto: Any) -> bool:
    """Whether training may have to wait for rows that aren't there yet."""
    return is_stream(proto) and proto.data_config.num_epochs == 0


def own_positions(proto: Any) -> bool:
    """Whether in training each rank has an input position of its own."""
    return bool(proto.data_config.file_shard) or is_stream(proto)


def with_an_end(
    proto: Any, training: bool, paths: Sequence[Any] | None, named: str | None = None
) -> Sequence[Any] | None:
    """Paths for all ranks to read: of a topic up to where it ends now; any others as they are.

    Args:
        proto: An EasyRecConfig.
        training: Whether to read for training.
        paths: Given in place of the config's, if any.
        named: The setting that gave `paths`, for messages.

    Raises:
        UserError: No broker answers.
    """
    if training or not is_stream(proto):
        return paths
    what, configured = _input_paths(proto, training)
    return [stretch_of(_topic(paths or [configured], named or what), named or what)]


def _topic(paths: Sequence[Any], what: str) -> Any:
    if len(paths) != 1 or isinstance(paths[0], str):
        raise ConfigError(
            f"{what}: KafkaInput reads what kafka_train_input and kafka_eval_input of the config name; to "
            "read files set data_config.input_type, as CSVInput"
        )
    return paths[0]


def _input_type(data_config: Any) -> str:
    enum = data_config.DESCRIPTOR.fields_by_name["input_type"].enum_type
    return enum.values_by_number[data_config.input_type].name


def _input_paths(proto: Any, training: bool) -> tuple[str, Any]:
    """The name of the path setting in use and its value: a string, or a message for `CriteoInput`."""
    which = proto.WhichOneof("train_path" if training else "eval_path")
    mode = "train" if training else "eval"
    kinds = ("{}_input_path", "parquet_{}_input", "binary_{}_input", "kafka_{}_input")
    if which not in [kind.format(mode) for kind in kinds]:
        return which or f"{mode}_input_path", ""
    return which, getattr(proto, which)
