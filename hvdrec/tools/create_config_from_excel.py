"""Creates a config from a table of features: ``python -m hvdrec.tools.create_config_from_excel``.

The sheets of EasyRec's templates must be CSV files: save ``features``, and ``global`` if it is used.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import text_format

from hvdrec.commands.main import main
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.protos import feature_config_pb2, pipeline_pb2
from hvdrec.errors import ConfigError
from hvdrec.storage import read_text
from hvdrec.tools.config_files import write_config

_TYPES = {"bigint": "INT64", "double": "DOUBLE", "float": "FLOAT", "string": "STRING", "bool": "BOOL"}
_DEFAULTS = {"bigint": "0", "double": "0.0"}
_KINDS = ("category", "dense", "tags", "indexes", "weights", "label", "notneed")
#: DeepFM's groups for each value of the column `group`.
_DEEPFM_GROUPS = {"deep": ("deep",), "wide": ("wide",), "wide_and_deep": ("wide", "deep")}
_TEMPLATE = """
train_config {
  log_step_count_steps: 200
  optimizer_config { adam_optimizer { learning_rate { exponential_decay_learning_rate {
    initial_learning_rate: 0.0001 decay_steps: 10000 decay_factor: 0.5 min_learning_rate: 0.0000001 } } } }
  num_steps: 2000
  sync_replicas: true
}
eval_config { metrics_set { auc {} } }
data_config { batch_size: 1024 prefetch_size: 32 input_type: CSVInput }
"""
_MODELS = {
    "deepfm": """model_class: "DeepFM" embedding_regularization: 1e-5
        deepfm { dnn { hidden_units: [128, 64, 32] } final_dnn { hidden_units: [128, 64] }
                 wide_output_dim: 16 l2_regularization: 1e-5 }""",
    "multi_tower": """model_class: "MultiTower" embedding_regularization: 1e-5
        multi_tower { final_dnn { hidden_units: [192, 128, 64] } l2_regularization: 1e-5 }""",
}
_TOWER = (256, 192, 128)
#: Of a number in the table; all fields of a config can hold them.
_MOST_DIGITS = 9

Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class ExcelFlags:
    """Flags: the tables, the model, the separators, and settings to copy into the config."""

    excel_path: str
    output_path: str
    model_type: str
    global_path: str = ""
    column_separator: str = ","
    incol_separator: str = "|"
    train_input_path: str = ""
    eval_input_path: str = ""
    model_dir: str = "experiments/demo"
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> ExcelFlags:
    """The flags.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.tools.create_config_from_excel", "Creates a config from a table of features.")
    parser.add_argument("--excel_path", metavar="FILE", help="the sheet `features` as CSV")
    parser.add_argument("--global_path", default="", metavar="FILE", help="the sheet `global` as CSV")
    parser.add_argument("--output_path", metavar="FILE", help="the config to write")
    parser.add_argument("--model_type", choices=tuple(_MODELS), help="the model")
    parser.add_argument("--column_separator", default=",", help="separator of the columns of the data")
    parser.add_argument("--incol_separator", default="|", help="separator of the values of a cell")
    parser.add_argument("--train_input_path", default="", metavar="PATH", help="training data")
    parser.add_argument("--eval_input_path", default="", metavar="PATH", help="evaluation data")
    parser.add_argument("--model_dir", default="experiments/demo", metavar="DIR", help="folder for runs")
    values = parser.parse(arguments, needed=["excel_path", "output_path", "model_type"])
    if values["excel_path"].endswith((".xls", ".xlsx")):
        raise ConfigError(
            f"--excel_path: {values['excel_path']}: must be a CSV file; save the sheet `features` as CSV"
        )
    return ExcelFlags(**values)


def run(flags: ExcelFlags) -> None:
    """Writes the config."""
    shared = _read(flags.global_path, "--global_path", ("name",)) if flags.global_path else []
    rows = _read(flags.excel_path, "--excel_path", ("name", "data_type", "type", "group"))
    proto = _Table(flags, rows, {row["name"]: row for row in shared}).config()
    write_config(proto, flags.output_path, "--output_path")


def _read(path: str, flag: str, needed: Sequence[str]) -> list[Row]:
    try:
        lines = list(csv.DictReader(io.StringIO(read_text(path))))
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{flag}: {path}: can't be read: {getattr(error, 'strerror', None) or error}"
        ) from None
    for number, line in enumerate(lines, start=2):
        if None in line or None in line.values():
            raise ConfigError(f"{flag}: {path}, row {number}: the number of cells differs from the first row")
    missing = [name for name in needed if not lines or name not in lines[0]]
    if missing:
        raise ConfigError(f"{flag}: {path}: has no column {', '.join(missing)}")
    return [{key.strip(): value.strip() for key, value in line.items()} for line in lines]


class _Table:
    """Creates the config of a table."""

    def __init__(self, flags: ExcelFlags, rows: Sequence[Row], shared: Mapping[str, Row]) -> None:
        self._flags = flags
        self._rows = rows
        self._shared = shared
        self._names = {row["name"] for row in rows}
        self._proto: Any = text_format.Parse(_TEMPLATE, pipeline_pb2.EasyRecConfig())

    def config(self) -> Any:
        flags, proto = self._flags, self._proto
        proto.model_dir = flags.model_dir
        proto.train_input_path, proto.eval_input_path = flags.train_input_path, flags.eval_input_path
        proto.data_config.separator = flags.column_separator
        text_format.Parse(_MODELS[flags.model_type], proto.model_config)
        groups: dict[str, list[str]] = {}
        for number, row in enumerate(self._rows, start=2):
            self._add(row, f"--excel_path: {flags.excel_path}, row {number}, {row['name']!r}", groups)
        if not proto.data_config.label_fields:
            raise ConfigError(f"--excel_path: {flags.excel_path}: no row has type label")
        for name in sorted(groups):
            group = proto.model_config.feature_groups.add(group_name=name, feature_names=groups[name])
            wide = flags.model_type == "deepfm" and name == "wide"
            group.wide_deep = feature_config_pb2.WIDE if wide else feature_config_pb2.DEEP
            if flags.model_type == "multi_tower":
                tower = proto.model_config.multi_tower.towers.add(input=name)
                tower.dnn.hidden_units.extend(_TOWER)
        return proto

    def _add(self, row: Row, where: str, groups: dict[str, list[str]]) -> None:
        """Adds the field of a row, and its feature."""
        kind, name = row["type"], row["name"]
        if kind not in _KINDS or row["data_type"] not in _TYPES:
            raise ConfigError(
                f"{where}: type must be one of {', '.join(_KINDS)} and data_type one of {', '.join(_TYPES)}, "
                f"are {kind!r} and {row['data_type']!r}"
            )
        field = self._proto.data_config.input_fields.add(input_name=name)
        field.input_type = type(self._proto.data_config).FieldType.Value(_TYPES[row["data_type"]])
        field.default_val = _DEFAULTS.get(row["data_type"]) or self._of(row, "default_value")
        if kind == "weights":
            field.default_val = "1"
        if kind == "label":
            self._proto.data_config.label_fields.append(name)
        if kind in ("weights", "label", "notneed"):
            return
        self._feature(row, kind, where)
        written = row["group"]
        if self._flags.model_type == "deepfm" and written not in _DEEPFM_GROUPS:
            raise ConfigError(f"{where}: group must be one of {', '.join(_DEEPFM_GROUPS)}, is {written!r}")
        for group in _DEEPFM_GROUPS[written] if self._flags.model_type == "deepfm" else (written,):
            groups.setdefault(group, []).append(name)

    def _of(self, row: Row, column: str) -> str:
        """A cell of a row, or of the row of its `global`, which takes precedence."""
        return self._shared.get(row.get("global", ""), {}).get(column, "") or row.get(column, "")

    def _number(self, row: Row, column: str, where: str) -> int:
        written = self._of(row, column)
        digits = written.removesuffix(".0")
        if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            raise ConfigError(
                f"{where}: {column} must be a whole number of at most {_MOST_DIGITS} digits, is {written!r}"
            )
        return int(digits)

    def _feature(self, row: Row, kind: str, where: str) -> None:
        feature = self._proto.feature_config.features.add(input_names=[row["name"]])
        if kind == "dense":
            feature.feature_type = feature.RawFeature
            boundaries = [part for part in row.get("boundaries", "").split(",") if part.strip()]
            if not boundaries and self._flags.model_type == "deepfm":
                raise ConfigError(f"{where}: numbers need boundaries in a deepfm")
            try:
                numbers = [float(part) for part in boundaries]
            except ValueError:
                numbers = [math.nan]
            if not all(map(math.isfinite, numbers)):
                raise ConfigError(f"{where}: boundaries must be comma-separated numbers")
            feature.boundaries.extend(numbers)
            if boundaries:
                feature.embedding_dim = self._number(row, "embedding_dim", where)
            return
        feature.embedding_dim = self._number(row, "embedding_dim", where)
        feature.embedding_name = row.get("global", "")
        buckets = self._number(row, "hash_bucket_size", where)
        if kind == "category":
            feature.feature_type, feature.hash_bucket_size = feature.IdFeature, buckets
            return
        feature.feature_type, feature.separator = feature.TagFeature, self._flags.incol_separator
        if kind == "indexes":
            feature.num_buckets = buckets
            return
        feature.hash_bucket_size = buckets
        weights = row.get("weights", "")
        if weights and weights not in self._names:
            raise ConfigError(f"{where}: weights names {weights!r}, which is not the name of a row")
        feature.input_names.extend([weights] if weights else [])


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
