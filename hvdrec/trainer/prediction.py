"""`hvdrec.predict`: a checkpoint's predictions for rows of a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

from hvdrec.config import Config
from hvdrec.data.batch import PackedBatch
from hvdrec.errors import ConfigError, UserError
from hvdrec.features.plan import Field
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.evaluate import Evaluator
from hvdrec.trainer.job import open_batches, set_threads
from hvdrec.trainer.left_out import tell_left_out
from hvdrec.trainer.restored import restore

_ALL = "ALL_COLUMNS"


def predict(config: Config, flags: Any) -> None:
    """Writes one line for each input row: predictions, then the columns to keep.

    Every rank writes its own part when there are several. Rows keep the file's order within a
    part; whole batches of `--batch_size` rows are dealt to the ranks in turn.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    config.proto.data_config.batch_size = flags.batch_size
    config.proto.data_config.with_header = flags.with_header or config.proto.data_config.with_header
    job, _ = together(group, lambda: restore(config, group, flags.checkpoint_path))
    fields = _all_fields(config.proto)
    reserved = _reserved(flags.reserved_cols, flags.output_format, fields)
    missing = [f for f in fields if f.name not in {g.name for g in job.plan.fields}]
    path = _output_path(flags.output_path, flags.output_format, group)
    loader = open_batches(config.proto, job.plan, group, False, raw_fields=missing, paths=[flags.input_path])
    evaluator = Evaluator(job.recommender, job.feed)

    def work() -> int:
        return _write(path, loader, evaluator, reserved, flags)

    try:
        rows = sum(group.gather_objects(together(group, work)))
        tell_left_out(config.proto, group, loader, "prediction")
    finally:
        loader.close()
    if group.rank == 0:
        print(f"{rows} rows predicted, written to {flags.output_path}", flush=True)
    group.close()


def _all_fields(proto: Any) -> list[Field]:
    kinds = proto.data_config.Field.DESCRIPTOR.fields_by_name["input_type"].enum_type
    return [
        Field(f.input_name, kinds.values_by_number[f.input_type].name, f.default_val)
        for f in proto.data_config.input_fields
    ]


def _reserved(wanted: str, output_format: str, fields: Sequence[Field]) -> list[Field]:
    """The input columns to copy; JSON lines hold only predictions unless columns are named."""
    if not wanted or (wanted == _ALL and output_format == "jsonl"):
        return []
    if wanted == _ALL:
        return list(fields)
    by_name = {f.name: f for f in fields}
    unknown = [n.strip() for n in wanted.split(",") if n.strip() not in by_name]
    if unknown:
        raise ConfigError(f"--reserved_cols: no input field is named {', '.join(unknown)}")
    return [by_name[n.strip()] for n in wanted.split(",")]


def _output_path(path: str, output_format: str, group: ReplicaGroup) -> str:
    """The file of this rank: `path` itself, or a part in the folder `path`."""
    if group.size > 1 or path.endswith("/") or os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        return os.path.join(path, f"part-{group.rank}.{output_format}")
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    return path


def _write(
    path: str, batches: Iterator[PackedBatch], evaluator: Evaluator, reserved: Sequence[Field], flags: Any
) -> int:
    """Predicts and writes this rank's rows; the file appears only when it is whole."""
    temporary = f"{path}.tmp-{os.getpid()}"
    count, names = 0, None
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            for batch in batches:
                if not batch.rows:
                    continue
                predictions = evaluator.predict(batch)
                if names is None:
                    names = _output_names(flags.output_cols, predictions)
                    if flags.output_format == "csv":
                        heads = [*names, *(f.name for f in reserved)]
                        file.write(flags.output_sep.join(heads) + "\n")
                columns = {name: predictions[name].tolist() for name in names}
                kept = _kept(batch.raw, reserved)
                _lines(file, columns, kept, flags)
                count += batch.rows
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from error
    return count


def _output_names(wanted: str, predictions: dict[str, np.ndarray]) -> list[str]:
    """The predictions to write; EasyRec's form ``"probs double,logits double"`` is understood."""
    if not wanted or wanted == _ALL:
        return list(predictions)
    names = [part.split()[0] for part in wanted.split(",") if part.strip()]
    unknown = [n for n in names if n not in predictions]
    if unknown:
        raise ConfigError(
            f"--output_cols: this model has no {', '.join(unknown)}; it has {', '.join(predictions)}"
        )
    return names


def _kept(raw: pa.RecordBatch | None, reserved: Sequence[Field]) -> dict[str, list[Any]]:
    """The reserved columns as text (or numbers, from typed files)."""
    kept: dict[str, list[Any]] = {}
    for field in reserved:
        if raw is None:
            raise ConfigError("--reserved_cols: the input's columns were not kept")
        values = raw.column(field.name).to_pylist()
        kept[field.name] = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
    return kept


def _lines(file: IO[str], outputs: dict[str, list[Any]], kept: dict[str, list[Any]], flags: Any) -> None:
    names = [*outputs, *kept]
    for row in zip(*outputs.values(), *kept.values(), strict=True):
        if flags.output_format == "jsonl":
            file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")
        else:
            file.write(flags.output_sep.join(map(_cell, row)) + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(repr, value))
    return repr(value) if isinstance(value, float) else "" if value is None else str(value)
