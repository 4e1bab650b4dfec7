"""Puts the values of a checkpoint into variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from hvdrec.checkpoint.names import Entry, listed, nearest
from hvdrec.checkpoint.reader import Reader
from hvdrec.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Match:
    """An entry and the variable of the checkpoint that goes into it."""

    entry: Entry
    source: str


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """What was restored.

    Attributes:
        prefix: The checkpoint.
        restored: Entry names that got a value.
        renamed: Of these, those whose name in the checkpoint is another: entry -> checkpoint.
        skipped: Entry names that got none, and why.
        unused: Names of the checkpoint that nothing asked for.
        reshaped: Entry names whose value was cut or filled up, and how.
    """

    prefix: str
    restored: tuple[str, ...]
    renamed: dict[str, str]
    skipped: dict[str, str]
    unused: tuple[str, ...]
    reshaped: dict[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[str]:
        """A table of it for the log: one line of counts, then what isn't plain."""
        counts = (
            f"restored {len(self.restored)} variables from {self.prefix}; not restored: "
            f"{len(self.skipped)}; in the checkpoint only: {len(self.unused)}"
        )
        rows = [
            *(("renamed", name, f"from {source}") for name, source in self.renamed.items()),
            *(("cut or filled", name, why) for name, why in self.reshaped.items()),
            *(("not restored", name, why) for name, why in self.skipped.items()),
            *(("unused", name, "in the checkpoint only") for name in self.unused),
        ]
        return [counts, *(f"  {kind:<13}  {name}: {why}" for kind, name, why in rows)]


def mismatch(entry: Entry, source: str, reader: Reader) -> str | None:
    """Why the variable `source` of the checkpoint doesn't fit `entry`, or None."""
    shape, dtype = reader.shapes[source], reader.dtype(source)
    if shape != entry.shape:
        return f"shape {list(shape)} in the checkpoint, {list(entry.shape)} in the model"
    if dtype != entry.dtype:
        return f"{dtype.name} in the checkpoint, {entry.dtype.name} in the model"
    return None


def restore_exactly(prefix: str, entries: Sequence[Entry]) -> RestoreReport:
    """Restores every entry under its own name.

    Args:
        prefix: The checkpoint.
        entries: What must be in it, with these shapes.

    Returns:
        The report; nothing is skipped.

    Raises:
        CheckpointError: Something is missing or has another shape; then no variable has changed.
    """
    reader = Reader(prefix)
    missing = [e.name for e in entries if e.name not in reader]
    found = [e for e in entries if e.name in reader]
    wrong = [f"{e.name} ({why})" for e in found if (why := mismatch(e, e.name, reader))]
    problems = []
    if missing:
        shown = [n + (nearest(n, reader.shapes) if i < 5 else "") for i, n in enumerate(missing)]
        problems.append(f"{len(missing)} of the model's variables are not in it: {listed(shown)}")
    if wrong:
        problems.append(f"{len(wrong)} don't fit: {listed(wrong)}")
    if problems:
        raise CheckpointError(f"{prefix}: doesn't belong to this model: {'; '.join(problems)}")
    assign(reader, [Match(e, e.name) for e in entries])
    names = tuple(e.name for e in entries)
    return RestoreReport(prefix, names, {}, {}, unused(reader, names))


def unused(reader: Reader, sources: Iterable[str]) -> tuple[str, ...]:
    """Names of the checkpoint that aren't among `sources`, sorted."""
    return tuple(sorted(set(reader.shapes) - set(sources)))


def assign(reader: Reader, matches: Sequence[Match]) -> None:
    """Reads every match, one variable at a time, and assigns each variable once.

    Where the shapes differ (rank alike) the value is cut, or filled up with zeros.
    """
    by_variable: dict[int, list[Match]] = {}
    for match in matches:
        by_variable.setdefault(id(match.entry.variable), []).append(match)
    for group in by_variable.values():
        variable = group[0].entry.variable
        if len(group) == 1 and group[0].entry.rows is None:
            variable.assign(fit(reader.read(group[0].source), group[0].entry.shape))
            continue
        covered = sum(m.entry.shape[0] for m in group)
        whole = covered == variable.shape[0]
        value = np.empty(variable.shape, variable.dtype.as_numpy_dtype) if whole else variable.numpy()
        for match in group:
            first, last = match.entry.rows or (0, variable.shape[0])
            value[first:last] = fit(reader.read(match.source), match.entry.shape)
        variable.assign(value)


def fit(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`value` cut to `shape`, or filled up with zeros to it, along every dimension."""
    if np.shape(value) == shape:
        return value
    fitted = np.zeros(shape, value.dtype)
    common = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, shape, strict=True))
    fitted[common] = value[common]
    return fitted
