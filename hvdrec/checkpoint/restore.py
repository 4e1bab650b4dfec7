"""Assigns the values of a checkpoint to variables."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint.bundle import RowReader
from hvdrec.checkpoint.names import SavedTensor, listed, nearest
from hvdrec.checkpoint.reader import Reader
from hvdrec.errors import CheckpointError, DamagedError
from hvdrec.layers.banks.dynamic import DynamicView, RowView
from hvdrec.layers.banks.strategy import Whole
from hvdrec.layers.variables import replace_rows

#: Variables are read together up to this size, because each read reopens the checkpoint.
_PORTION_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Match:
    """An entry, and the variable of the checkpoint to assign to it."""

    entry: SavedTensor
    source: str


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """The result of restoring.

    Attributes:
        prefix: The checkpoint.
        restored: SavedTensor names that got a value.
        renamed: Of these, those whose name in the checkpoint is another: entry -> checkpoint.
        skipped: SavedTensor names that got none, and why.
        unused: Names of the checkpoint that nothing asked for.
        reshaped: SavedTensor names whose value was cut or filled up, and how.
        parts: Matches of variables that are split over the ranks and still have to be read (`read_parts`);
            their checksums are correct.
        files: Prefix of the files that these are read from, if it isn't `prefix`.
    """

    prefix: str
    restored: tuple[str, ...]
    renamed: dict[str, str]
    skipped: dict[str, str]
    unused: tuple[str, ...]
    reshaped: dict[str, str] = dataclasses.field(default_factory=dict)
    parts: tuple[Match, ...] = ()
    files: str = ""

    def lines(self) -> list[str]:
        """Lines for the log: one with counts, then the exceptions; slots are listed with their variable."""
        counts = (
            f"restored {len(self.restored)} variables from {self.prefix}; not restored: "
            f"{len(self.skipped)}; in the checkpoint only: {len(self.unused)}"
        )
        rows = [
            *(("renamed", name, f"from {source}") for name, source in self.renamed.items()),
            *(("cut or padded", name, why) for name, why in self.reshaped.items()),
            *(("not restored", name, why) for name, why in self.skipped.items()),
            *(("unused", name, "in the checkpoint only") for name in self.unused),
        ]
        return [counts, *(f"  {kind:<13}  {name}: {why}" for kind, name, why in _without_slots(rows))]


def _without_slots(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Rows of kind, name and reason; slots with the same result as their variable are only counted."""
    reasons = {(kind, name): why for kind, name, why in rows}
    slots: collections.Counter[tuple[str, str]] = collections.Counter()
    kept = []
    for kind, name, why in rows:
        variable, _, slot = name.rpartition("/")
        if reasons.get((kind, variable)) == why.replace(f"/{slot}", ""):
            slots[kind, variable] += 1
        else:
            kept.append((kind, name, why))

    def shown(kind: str, name: str) -> str:
        count = slots[kind, name]
        return f"{name} and {count} slot{'s' * (count > 1)}" if count else name

    return [(kind, shown(kind, name), why) for kind, name, why in kept]


def has_keys(source: str, reader: Reader) -> bool:
    """Whether a checkpoint's variable is a table without a fixed size, or a slot of one."""
    return any(f"{table}/keys" in reader for table in (source, source.rpartition("/")[0]))


def mismatch(entry: SavedTensor, source: str, reader: Reader) -> str | None:
    """Why the variable `source` of the checkpoint doesn't fit `entry`, or None."""
    shape, dtype = reader.shapes[source], reader.dtype(source)
    if isinstance(entry.variable, RowView):
        keys = entry.variable.keys_name(source)
        if keys not in reader or reader.shapes[keys] != shape[:1]:
            return f"a table of a fixed size in the checkpoint, without {keys}; in the model ids get rows"
    elif not isinstance(entry.variable, DynamicView) and len(shape) == 2 and has_keys(source, reader):
        return "a table without a fixed size (ev_params) in the checkpoint, but not in the model"
    ids = entry.dynamic is not None and len(shape) == len(entry.shape)
    if shape[ids:] != entry.shape[ids:]:
        return f"shape {list(shape)} in the checkpoint, {list(entry.shape)} in the model"
    if dtype != entry.dtype:
        return f"{dtype.name} in the checkpoint, {entry.dtype.name} in the model"
    return None


def restore_exactly(prefix: str, entries: Sequence[SavedTensor]) -> RestoreReport:
    """Restores every entry under its own name.

    Args:
        prefix: The checkpoint.
        entries: What must be in it, with these shapes.

    Returns:
        The report; nothing is skipped.

    Raises:
        CheckpointError: An entry is missing or has another shape; no variable has changed.
        DamagedError: A value can't be read; some variables may have changed.
    """
    reader = Reader(prefix)
    missing = [e.name for e in entries if e.name not in reader]
    found = [e for e in entries if e.name in reader]
    wrong = [f"{e.name} ({why})" for e in found if (why := mismatch(e, e.name, reader))]
    problems = []
    if missing:
        shown = [n + (nearest(n, reader.shapes) if i < 5 else "") for i, n in enumerate(missing)]
        problems.append(f"{len(missing)} of the model's variables are missing in it: {listed(shown)}")
    if wrong:
        problems.append(f"{len(wrong)} have another shape or type: {listed(wrong)}")
    if problems:
        raise CheckpointError(f"{prefix}: doesn't belong to this model: {'; '.join(problems)}")
    parts = assign(reader, [Match(e, e.name) for e in entries])
    names = tuple(e.name for e in entries)
    return RestoreReport(prefix, names, {}, {}, unused(reader, names), parts=parts)


def unused(reader: Reader, sources: Iterable[str]) -> tuple[str, ...]:
    """Names in the checkpoint that aren't among `sources`, sorted."""
    return tuple(sorted(set(reader.shapes) - set(sources)))


def assign(reader: Reader, matches: Sequence[Match]) -> tuple[Match, ...]:
    """Reads every match and assigns each variable once, the values of a few variables at a time.

    If shapes of the same rank differ, the value is cut, or padded with zeros.

    Returns:
        The matches of variables that are split over the ranks: their checksums are correct, but they have no
        value yet.

    Raises:
        DamagedError: A value can't be read, or no table can have saved it; earlier variables have already
            been assigned.
    """
    parts = tuple(m for m in matches if m.entry.split is not None)
    matches = [m for m in matches if m.entry.split is None]
    if parts:
        rows = RowReader(reader)
        for part in parts:
            rows.check(part.source)
    for variables in _portions(reader, matches):
        names = [m.source for group in variables for m in group]
        values = iter(reader.read(names))
        for group in variables:
            entries = [m.entry for m in group]
            found = [next(values) if e.dynamic else fit(next(values), e.shape) for e in entries]
            try:
                _put(entries[0].variable, entries, found)
            except ValueError as error:
                raise DamagedError(f"{reader.prefix}: {error}") from error
    return parts


def _portions(reader: Reader, matches: Sequence[Match]) -> Iterator[list[list[Match]]]:
    """The matches of each variable, in portions no larger than the largest variable or table."""
    by_variable: dict[tuple, list[Match]] = {}
    for match in matches:
        own = match.entry.rows if _in_place(match.entry) else None
        by_variable.setdefault((id(match.entry.variable), own), []).append(match)
    portion: list[list[Match]] = []
    held = 0
    for group in by_variable.values():
        size = sum(reader.nbytes(m.source) for m in group)
        if portion and held + size > _PORTION_BYTES:
            yield portion
            portion, held = [], 0
        portion.append(group)
        held += size
    if portion:
        yield portion


def _in_place(entry: SavedTensor) -> bool:
    """Whether rows of the entry's variable can be replaced where they are, without a copy of it."""
    return entry.rows is not None and isinstance(entry.variable, tf.Variable)


def _put(variable: tf.Variable | Whole, entries: Sequence[SavedTensor], values: Sequence[tf.Tensor]) -> None:
    """Assigns the values of its entries to a variable; rows without an entry keep their values."""
    if entries[0].rows is None:
        variable.assign(values[0])
        return
    if isinstance(variable, tf.Variable):
        for entry, value in zip(entries, values, strict=True):
            replace_rows(variable, np.arange(*(entry.rows or ()), dtype=np.int32), value)
        return
    pieces = []
    end = 0
    with tf.device("/CPU:0"):
        before = variable.read_value()
        for entry, value in sorted(zip(entries, values, strict=True), key=lambda pair: pair[0].rows or ()):
            first, last = entry.rows or (0, 0)
            if first > end:
                pieces.append(before[end:first])
            pieces.append(value)
            end = last
        if end < variable.shape[0]:
            pieces.append(before[end:])
        whole = pieces[0] if len(pieces) == 1 else tf.concat(pieces, axis=0)
    variable.assign(whole)


def fit(value: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """`value` cut or zero-padded to `shape` along every dimension."""
    if tuple(value.shape) == shape:
        return value
    common = [min(a, b) for a, b in zip(value.shape, shape, strict=True)]
    with tf.device("/CPU:0"):
        missing = [[0, b - a] for a, b in zip(common, shape, strict=True)]
        return tf.pad(tf.slice(value, [0] * len(common), common), missing)
