"""The files `hvdrec.predict` writes: CSV or JSON lines, one line for each row of the input."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

from hvdrec.data.batch import PackedBatch
from hvdrec.errors import ConfigError, UserError
from hvdrec.trainer.predictors import Predictor

_ALL = "ALL_COLUMNS"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a line has.

    Attributes:
        output_cols: Predictions, with commas between, maybe with EasyRec's types ("probs double").
        reserved_cols: Columns of the input to copy, with commas between.
        output_format: csv or jsonl.
        separator: Between the columns of a CSV line.
        declared: The config's columns in their order; others follow.
    """

    output_cols: str
    reserved_cols: str
    output_format: str
    separator: str
    declared: Sequence[str]

    @property
    def keeps_columns(self) -> bool:
        """Whether columns of the input are wanted; JSON lines have them only if they're named."""
        return bool(self.reserved_cols) and not (self.output_format == "jsonl" and self.reserved_cols == _ALL)

    def outputs(self, predictions: dict[str, np.ndarray]) -> list[str]:
        """The predictions to write.

        Raises:
            ConfigError: One of them isn't there.
        """
        if not self.output_cols or self.output_cols == _ALL:
            return list(predictions)
        names = [part.split()[0] for part in self.output_cols.split(",") if part.strip()]
        unknown = [n for n in names if n not in predictions]
        if unknown:
            raise ConfigError(
                f"--output_cols: this model has no {', '.join(unknown)}; it has {', '.join(predictions)}"
            )
        return names

    def reserved(self, columns: pa.RecordBatch) -> list[str]:
        """The columns to copy.

        Raises:
            ConfigError: The input has no such column.
        """
        if not self.keeps_columns:
            return []
        there = columns.schema.names
        if self.reserved_cols == _ALL:
            known = [n for n in self.declared if n in there]
            return [*known, *(n for n in there if n not in known)]
        names = [n.strip() for n in self.reserved_cols.split(",") if n.strip()]
        unknown = [n for n in names if n not in there]
        if unknown:
            raise ConfigError(
                f"--reserved_cols: the input has no column {', '.join(unknown)}; it has {', '.join(there)}"
            )
        return names


def output_path(path: str, output_format: str, rank: int, size: int, folder: bool) -> str:
    """The file of a rank: `path` itself, or a part in the folder `path`.

    Args:
        path: `--output_path`.
        output_format: csv or jsonl.
        rank: This rank.
        size: Number of ranks; several always write parts.
        folder: Whether a path that looks like no file is a folder.
    """
    folder = folder and not os.path.splitext(path)[1]
    if folder or size > 1 or path.endswith("/") or os.path.isdir(path):
        return os.path.join(path, f"part-{rank}.{output_format}")
    return path


def write(path: str, batches: Iterable[PackedBatch], predictor: Predictor, layout: Layout) -> int:
    """Predicts and writes this rank's rows; the file appears only when it is whole.

    Returns:
        The number of rows.

    Raises:
        UserError: The file can't be written.
    """
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            count = _write_rows(file, batches, predictor, layout)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
    return count


def _write_rows(file: IO[str], batches: Iterable[PackedBatch], predictor: Predictor, layout: Layout) -> int:
    count = 0
    outputs: list[str] | None = None
    kept: list[str] = []
    for batch in batches:
        if not batch.rows or batch.raw is None:
            continue
        predictions = predictor.predict(batch)
        if outputs is None:
            outputs, kept = layout.outputs(predictions), layout.reserved(batch.raw)
            if layout.output_format == "csv":
                file.write(layout.separator.join([*outputs, *kept]) + "\n")
        columns = [predictions[name].tolist() for name in outputs]
        columns += [[_plain(v) for v in batch.raw.column(name).to_pylist()] for name in kept]
        names = [*outputs, *kept]
        for row in zip(*columns, strict=True):
            if layout.output_format == "jsonl":
                named = {n: _plain(v) for n, v in zip(names, row, strict=True)}
                file.write(json.dumps(named, ensure_ascii=False) + "\n")
            else:
                file.write(layout.separator.join(_cell(v, layout.separator) for v in row) + "\n")
        count += batch.rows
    return count


def _plain(value: Any) -> Any:
    """A value as JSON can have it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _cell(value: Any, separator: str) -> str:
    """A value as a cell of CSV; quoted where the cell would fall apart otherwise."""
    value = _plain(value)
    if isinstance(value, list):
        text = ",".join(_cell(v, "\0") for v in value)
    else:
        text = repr(value) if isinstance(value, float) else "" if value is None else str(value)
    if separator in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text
