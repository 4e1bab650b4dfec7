"""Checks `data_config` and the input paths."""

from __future__ import annotations

import math
from typing import Any

from hvdrec.config import support
from hvdrec.config.checks.kafka import check_topics
from hvdrec.config.checks.label_functions import check_label_functions
from hvdrec.config.expand import feature_list
from hvdrec.config.labels import read_labels
from hvdrec.config.models.distillation import heads_of_model
from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.registry import SPECS
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name, hint, listed
from hvdrec.config.report import Report
from hvdrec.storage.maxcompute import is_table

_PATH = "data_config"
_INTEGERS = {"INT32": 1 << 31, "INT64": 1 << 63}
_CSV = ("CSVInput", "CSVInputV2", "CSVInputEx")
_COMPRESSIONS = ("", "GZIP", "ZLIB")
_BOOLEANS = ("true", "false", "1", "0")


def check_data(report: Report, needs_train: bool, needs_eval: bool) -> None:
    """Checks input type and paths, input fields, labels and the sample weight.

    Args:
        report: Collects the problems.
        needs_train: Whether training data is needed; then missing evaluation data is a warning.
        needs_eval: Whether evaluation data is needed.
    """
    proto = report.config.proto
    data = proto.data_config
    input_type = enum_name(data, "input_type")
    refused = support.unsupported(input_type, support.INPUT_TYPES)
    if refused:
        report.error(f"{_PATH}.input_type", refused)
    else:
        if needs_train:
            _check_path(report, "train", input_type, required=True)
        if needs_train or needs_eval:
            _check_path(report, "eval", input_type, required=needs_eval)
    if input_type in ("HiveInput", "KafkaInput", *_CSV) and (
        not data.separator or any(c in '\r\n"' for c in data.separator)
    ):
        report.error(f"{_PATH}.separator", f'{data.separator!r} is empty or contains a newline or a "')
    if input_type in ("RTPInput", "HiveRTPInput", "OdpsRTPInput"):
        _check_rtp(report, data, input_type)
    check_topics(report, input_type, needs_train, needs_eval)
    if "TFRecord" in input_type and data.data_compression_type not in _COMPRESSIONS:
        report.error(
            f"{_PATH}.data_compression_type",
            f"{data.data_compression_type!r} is not a known compression type; "
            "use GZIP or ZLIB, or remove the field",
        )
    elif data.data_compression_type and "TFRecord" not in input_type:
        report.warn(
            f"{_PATH}.data_compression_type",
            f"applies to TFRecord files only; {input_type} detects compression "
            "from the file extension, .gz or .zst",
        )
    for field in ("with_header", "csv_quoting"):
        if getattr(data, field) and input_type not in (*_CSV, "HiveInput", "KafkaInput"):
            report.warn(f"{_PATH}.{field}", f"has no effect on {input_type}")
    fields = _check_fields(report, data)
    _check_labels(report, data, fields)
    check_label_functions(report, data, fields)
    if data.sample_weight:
        _check_known(report, f"{_PATH}.sample_weight", data.sample_weight, fields)
    if input_type.startswith("Parquet"):
        _warn_of_ids(report, proto)


def _check_rtp(report: Report, data: Any, input_type: str) -> None:
    """Checks the separators and columns of RTPInput files, or of OdpsRTPInput's tables."""
    proto = report.config.proto
    paths = [getattr(proto, used) for mode in ("train", "eval") if (used := proto.WhichOneof(f"{mode}_path"))]
    if input_type == "OdpsRTPInput" and any(is_table(str(path).strip()) for path in paths):
        _check_rtp_table(report, data)
        return
    for field in ("rtp_separator", "separator"):
        separator = getattr(data, field)
        if not separator or any(c in "\r\n" for c in separator):
            report.error(f"{_PATH}.{field}", f"{separator!r} is empty or contains a newline")
    selected = [name.strip() for name in data.selected_cols.split(",")]
    if not all(name.isdecimal() for name in selected):
        report.error(
            f"{_PATH}.selected_cols",
            f"{data.selected_cols!r} must be comma-separated column numbers, counted from "
            "0: one for each label, then one for the features"
            + ("; no server is asked for names" if input_type == "HiveRTPInput" else ""),
        )
    elif len(selected) != len(read_labels(data)) + 1:
        report.error(
            f"{_PATH}.selected_cols",
            f"names {len(selected)} columns; {input_type} needs one for each of the {len(read_labels(data))} "
            "label_fields and one for the features",
        )


def _check_rtp_table(report: Report, data: Any) -> None:
    if not data.separator:
        report.error(f"{_PATH}.separator", "is empty")
    selected = [name.strip() for name in data.selected_cols.split(",") if name.strip()]
    fields = [field.input_name for field in data.input_fields]
    missing = [name for name in read_labels(data) if name not in selected[:-1]]
    if missing or len(selected) < 2:
        report.error(
            f"{_PATH}.selected_cols",
            f"{data.selected_cols!r} must name the table's columns: the labels, then the features'",
        )
    unknown = [name for name in selected[:-1] if name not in fields]
    if unknown:
        report.error(f"{_PATH}.selected_cols", f"{listed(unknown)} must be in input_fields")


def _check_path(report: Report, mode: str, input_type: str, required: bool) -> None:
    proto = report.config.proto
    plain, parquet, binary = f"{mode}_input_path", f"parquet_{mode}_input", f"binary_{mode}_input"
    used = proto.WhichOneof(f"{mode}_path")
    if input_type == "CriteoInput":
        _check_binary(report, binary, used, required)
        return
    if input_type == "KafkaInput":
        return
    if used == binary:
        report.error(binary, f"applies to CriteoInput only; {input_type} reads {plain}")
    name = parquet if input_type.startswith("Parquet") else plain
    if input_type == "DummyInput" or (used is not None and used not in (plain, parquet)):
        return
    if not used or not getattr(proto, used).replace(",", "").strip():
        if required:
            report.error(name, f"is missing; set it, or give --{mode}_input_path")
        else:
            report.warn(name, "is missing: the model won't be evaluated")
    elif used == parquet and name == plain:
        report.error(parquet, f"{input_type} reads {plain}; rename the field, or use ParquetInput")


def _check_binary(report: Report, name: str, used: str | None, required: bool) -> None:
    """Checks the paths of Criteo's binary files."""
    if used != name:
        if used or required:
            report.error(
                used or name, f"CriteoInput reads {name}; set label_path, dense_path and category_path in it"
            )
        return
    paths = getattr(report.config.proto, name)
    counts = [len(paths.label_path), len(paths.dense_path), len(paths.category_path)]
    if not counts[0] or len(set(counts)) > 1:
        report.error(
            name,
            f"has {counts[0]} label_path, {counts[1]} dense_path and {counts[2]} category_path; give as many "
            "of each",
        )


def _check_fields(report: Report, data: Any) -> dict[str, Any]:
    """Checks `input_fields` and returns them by name."""
    if not data.input_fields:
        report.error(f"{_PATH}.input_fields", "is empty; declare the columns of the data")
    fields: dict[str, Any] = {}
    for i, field in enumerate(data.input_fields):
        path = f"{_PATH}.input_fields[{i}]"
        if not field.input_name:
            report.error(path, "input_name is missing")
        elif field.input_name in fields:
            report.error(f"{path}.input_name", f"{field.input_name!r} is declared twice")
        fields[field.input_name] = field
        kind = enum_name(field, "input_type")
        if field.HasField("ignore_val") and "Parquet" not in enum_name(data, "input_type"):
            report.error(f"{path}.ignore_val", "is only for Parquet files; remove such values from the data")
        if field.default_val and not _fits(field.default_val, kind):
            report.error(f"{path}.default_val", f"{field.default_val!r} is not a valid {kind}")
    return fields


def _fits(written: str, kind: str) -> bool:
    """Whether a cell's text is a valid value of a field type."""
    if kind == "STRING":
        return True
    if kind == "BOOL":
        return written.lower() in _BOOLEANS
    try:
        number = float(written)
    except ValueError:
        return False
    if kind not in _INTEGERS:
        return math.isfinite(number)
    return number.is_integer() and -_INTEGERS[kind] <= number < _INTEGERS[kind]


def _check_known(report: Report, path: str, name: str, fields: dict[str, Any]) -> None:
    if name not in fields:
        report.error(path, f"{name!r} is not among data_config.input_fields; {report.hint(name, fields)}")


def _check_labels(report: Report, data: Any, fields: dict[str, Any]) -> None:
    if not data.label_fields:
        report.error(f"{_PATH}.label_fields", "is empty; name the label's column")
    seen: set[str] = set()
    made = {function.label_name for function in data.extra_label_func}
    for i, name in enumerate(data.label_fields):
        path = f"{_PATH}.label_fields[{i}]"
        if name not in made:
            _check_known(report, path, name, fields)
        if name in seen:
            report.error(path, f"{name!r} is listed twice")
        seen.add(name)
    for field in ("label_dim", "label_sep"):
        count = len(getattr(data, field))
        if count and count != len(read_labels(data)):
            report.error(
                f"{_PATH}.{field}",
                f"has {count} values for {len(read_labels(data))} label_fields; "
                "give one value per label field",
            )
    label = report.config.proto.model_config.label_name
    if label and label not in data.label_fields:
        near = hint(label, data.label_fields)
        report.error("model_config.label_name", f"{label!r} is not among data_config.label_fields; {near}")
    spec = SPECS.get(report.config.proto.model_config.model_class, ModelSpec())
    heads = heads_of_model(spec, report.config.proto)
    used = {head.label for head in heads}
    read = used.union(*map(_other_labels, heads))
    for i, name in enumerate(data.label_fields):
        # Functions may read any label.
        if heads and name in fields and name not in read and not data.extra_label_func:
            report.warn(f"{_PATH}.label_fields[{i}]", f"has no effect: no output is trained with {name!r}")
    for i, (name, width) in enumerate(zip(data.label_fields, data.label_dim, strict=False)):
        if name in used and width > 1:
            report.error(f"{_PATH}.label_dim[{i}]", "the losses do not support labels of several numbers yet")


def _other_labels(head: HeadConfig) -> set[str]:
    """The labels that a head reads besides its own."""
    spaces = [head.task_space, *(each.task_space for each in head.distillations)]
    soft = (each.label for each in head.distillations)
    return {*head.id_labels, head.session, *soft, *(space.label or space.name for space in spaces if space)}


def _warn_of_ids(report: Report, proto: Any) -> None:
    """Warns that EasyRec's Parquet readers take ids modulo `num_buckets`."""
    named = [f.input_names[0] for f in feature_list(proto) if f.num_buckets and f.input_names]
    if named:
        report.warn(
            f"{_PATH}.input_type",
            "EasyRec takes ids of Parquet files modulo num_buckets; here ids outside [0, num_buckets) count "
            f"as 0, as with CSVInput ({listed(named, 4)})",
        )
