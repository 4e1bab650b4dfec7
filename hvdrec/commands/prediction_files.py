"""The output files of `hvdrec.predict`: CSV or JSON lines, one line per input row."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.commands.finite import need_finite
from hvdrec.commands.output_files import completed
from hvdrec.commands.predictors import Predictor
from hvdrec.config.names import listed
from hvdrec.data.batch import PackedBatch
from hvdrec.errors import ConfigError, DataError

_ALL = "ALL_COLUMNS"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The contents of a line.

    Attributes:
        output_cols: Comma-separated predictions, optionally with EasyRec's types ("probs double").
        reserved_cols: Comma-separated input columns to copy.
        output_format: csv or jsonl.
        separator: The separator of columns in a CSV line.
        declared: The config's columns in order; other columns follow.
    """

    output_cols: str
    reserved_cols: str
    output_format: str
    separator: str
    declared: Sequence[str]

    @property
    def keeps_columns(self) -> bool:
        """Whether to copy input columns; JSON lines contain them only if they are named."""
        return bool(self.reserved_cols) and not (self.output_format == "jsonl" and self.reserved_cols == _ALL)

    def outputs(self, predictions: dict[str, np.ndarray]) -> list[str]:
        """The predictions to write.

        Raises:
            ConfigError: The model has no such prediction.
        """
        if not self.output_cols or self.output_cols == _ALL:
            # The same for a checkpoint and for an exported model, which has them in alphabetical order.
            return sorted(predictions)
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


def write(path: str, batches: Iterable[PackedBatch], predictor: Predictor, layout: Layout) -> int:
    """Predicts and writes this rank's rows; the file appears only when it is complete.

    Returns:
        The number of rows.

    Raises:
        TrainingError: A prediction isn't finite.
        UserError: The file can't be written.
        StorageError: The store refused the file.
    """
    with completed(path) as temporary, open(temporary, "wb") as file:
        return _write_rows(file, batches, predictor, layout)


def _write_rows(file: IO[bytes], batches: Iterable[PackedBatch], predictor: Predictor, layout: Layout) -> int:
    count = 0
    outputs: list[str] | None = None
    kept: list[str] = []
    for batch in batches:
        if not batch.rows or batch.raw is None:
            continue
        predictions = predictor.predict(batch)
        if outputs is None:
            outputs, kept = layout.outputs(predictions), layout.reserved(batch.raw)
            both = [name for name in kept if name in outputs]
            if both:
                raise ConfigError(
                    f"--reserved_cols: {listed(both)} would be in the output twice, as a prediction and as a "
                    "column of the input; select others, or fewer --output_cols"
                )
            if layout.output_format == "csv":
                file.write(_csv_lines({n: pa.array([n.encode()]) for n in (*outputs, *kept)}, layout))
        for name in outputs:
            need_finite(predictions[name], f"the prediction {name!r}", batch.locate)
        columns = {name: _column(predictions[name]) for name in outputs}
        columns |= {name: batch.raw.column(name) for name in kept}
        if layout.output_format == "jsonl":
            file.write(_json_lines(columns, batch.locate))
        else:
            file.write(_csv_lines(columns, layout))
        count += batch.rows
    return count


def _column(values: np.ndarray) -> pa.Array:
    """Predictions as an Arrow column; several values per row become lists."""
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(values.reshape(-1))
    width = int(np.prod(values.shape[1:]))
    return pa.ListArray.from_arrays(np.arange(len(values) + 1, dtype=np.int32) * width, flat)


def _json_lines(columns: Mapping[str, pa.Array], locate: Callable[[int], str] | None) -> bytes:
    lines = []
    for number, row in enumerate(zip(*(column.to_pylist() for column in columns.values()), strict=True)):
        named = {}
        for name, value in zip(columns, row, strict=True):
            try:
                named[name] = _plain(value)
            except UnicodeDecodeError as error:
                where = f"{locate(number)}, " if locate else ""
                raise _not_text(f"{where}column {name!r}", error) from None
        lines.append(json.dumps(named, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def _not_text(where: str, error: UnicodeDecodeError) -> DataError:
    return DataError(
        f"{where}: {error.object!r} is not UTF-8 text, as JSON must be; use --output_format csv, or leave "
        "the column out of --reserved_cols"
    )


def _plain(value: Any) -> Any:
    """A value converted for JSON, which has no NaN and no infinity: they are null."""
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _csv_lines(columns: Mapping[str, pa.Array], layout: Layout) -> bytes:
    """CSV lines; bytes of the input are copied unchanged."""
    separator = layout.separator.encode()
    cells = []
    for name, column in columns.items():
        try:
            cells.append(_quoted(_texts(column), separator))
        except UnicodeDecodeError as error:
            raise _not_text(f"column {name!r}", error) from None
    lines = pc.binary_join_element_wise(*cells, pa.scalar(separator, pa.binary())).to_pylist()
    return b"\n".join([*lines, b""])


def _texts(column: pa.Array) -> pa.Array:
    """A column's values as text, with enough digits to be exact; null is empty, structs and maps are JSON."""
    if pa.types.is_list(column.type):
        parts = pa.ListArray.from_arrays(column.offsets, _texts(column.values))
        column = pc.binary_join(parts, pa.scalar(b",", pa.binary()))
    elif pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        written = (json.dumps(_plain(value), ensure_ascii=False) for value in column.to_pylist())
        column = pa.array(["" if text == "null" else text for text in written], pa.string()).cast(pa.binary())
    elif not pa.types.is_binary(column.type):
        column = column.cast(pa.string()).cast(pa.binary())
    return column.fill_null(b"") if column.null_count else column


def _quoted(texts: pa.Array, separator: bytes) -> pa.Array:
    """Quotes cells that contain separators, quotes or newlines."""
    apart = pc.or_(
        pc.match_substring(texts, separator),
        pc.or_(pc.match_substring(texts, b"\n"), pc.match_substring(texts, b"\r")),
    )
    if not pc.any(apart).as_py():
        return texts
    cells = zip(texts.to_pylist(), apart.to_pylist(), strict=True)
    return pa.array([b'"' + t.replace(b'"', b'""') + b'"' if q else t for t, q in cells], pa.binary())
