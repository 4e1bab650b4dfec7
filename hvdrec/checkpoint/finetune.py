"""Starts a model from another run's checkpoint: `fine_tune_checkpoint` and related fields."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvdrec.checkpoint.names import GLOBAL_STEP, SavedTensor, listed, nearest, without_file_ending
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.remote import fetch
from hvdrec.checkpoint.restore import Match, RestoreReport, assign, has_keys, mismatch, unused
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError
from hvdrec.layers.banks.dynamic import IdView
from hvdrec.storage import is_remote, read_text


def fine_tune(
    prefix_or_dir: str,
    entries: Sequence[SavedTensor],
    var_map_file: str | None = None,
    force_shape: bool = False,
    filters: Sequence[str] = (),
    ignore_errors: bool = False,
    folder: str | None = None,
) -> RestoreReport:
    """Restores matching entries from a checkpoint, like EasyRec's `fine_tune_checkpoint`.

    Every entry except `global_step`, including slots and beta powers, is looked up by its own name, or by the
    name in the variable map. Entries missing in the checkpoint keep their initial value.

    Args:
        prefix_or_dir: `.../model.ckpt-120`, or a directory: its newest whole checkpoint.
        entries: What the model has.
        var_map_file: `fine_tune_ckpt_var_map`: a line for each renamed variable, its name in this
            model, blanks, its name in the checkpoint. The slots of a variable follow it, unless
            the map names them too.
        force_shape: `force_restore_shape_compatible`: values of another shape but the same rank
            are cut, or filled up with zeros.
        filters: `restore_filters`: entries whose name holds one of these are left as they are.
        ignore_errors: `--ignore_finetune_ckpt_error`: what is wrong with the map is reported
            among the skipped.
        folder: Where a checkpoint of a store is fetched to; by default one that is removed again. Who reads
            the `parts` of a report gives one.

    Returns:
        The report.

    Raises:
        CheckpointError: The checkpoint doesn't exist or can't be read, or the map is invalid; the message
            lists every problem of the map.
    """
    if is_remote(prefix_or_dir):
        with contextlib.ExitStack() as stack:
            folder = folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="hvdrec-fine-tune-"))
            fetched = fetch(prefix_or_dir, Path(folder))
            report = fine_tune(fetched, entries, var_map_file, force_shape, filters, ignore_errors)
            shown = f"{prefix_or_dir} ({Path(fetched).name})"
            return dataclasses.replace(report, prefix=shown, files=fetched)
    begun: set[str] = set()

    def take(prefix: str) -> RestoreReport:
        return _take(prefix, entries, var_map_file, force_shape, filters, ignore_errors, begun)

    if not Path(prefix_or_dir).is_dir():
        return take(existing_prefix(prefix_or_dir))
    newest = Store(prefix_or_dir).use_newest(take)
    if newest is None:
        raise CheckpointError(f"{prefix_or_dir}: there is no checkpoint (model.ckpt-<step>.index) in it")
    if mixed := sorted(begun - set(newest.restored)):
        raise CheckpointError(
            f"{newest.prefix}: a newer checkpoint is damaged, and this one lacks {listed(mixed)}; "
            "give the prefix of the checkpoint to use"
        )
    return newest


def _take(
    prefix: str,
    entries: Sequence[SavedTensor],
    var_map_file: str | None,
    force_shape: bool,
    filters: Sequence[str],
    ignore_errors: bool,
    begun: set[str],
) -> RestoreReport:
    """Restores matching entries from one checkpoint; `begun` receives names of possibly changed entries."""
    reader = Reader(prefix)
    wanted = [e for e in entries if e.name != GLOBAL_STEP and not _counts_steps(e)]
    mapped, problems = ({}, {}) if not var_map_file else _load_map(var_map_file, wanted, reader)
    if problems and not ignore_errors:
        raise CheckpointError(_report_problems(var_map_file or "", prefix, problems))
    matches, skipped = [], dict(problems)
    for entry in wanted:
        source = _source(entry.name, mapped)
        why = _obstacle(entry, source, reader, force_shape, filters)
        if why is None:
            matches.append(Match(entry, source))
        else:
            skipped[entry.name] = why
    shapes = {m.entry.name: mismatch(m.entry, m.source, reader) for m in matches}
    begun.update(m.entry.name for m in matches)
    parts = assign(reader, matches)
    return RestoreReport(
        prefix=prefix,
        restored=tuple(m.entry.name for m in matches),
        renamed={m.entry.name: m.source for m in matches if m.source != m.entry.name},
        skipped=skipped,
        unused=unused(reader, [*(_source(e.name, mapped) for e in entries), GLOBAL_STEP]),
        reshaped={name: why for name, why in shapes.items() if why},
        parts=parts,
    )


def _counts_steps(entry: SavedTensor) -> bool:
    """Whether an entry has steps of the run that saved it: ids count as last seen at this run's start."""
    return isinstance(entry.variable, IdView) and entry.variable.counts_steps


def existing_prefix(written: str) -> str:
    """The prefix of a checkpoint that was given as its prefix or as one of its files.

    Raises:
        CheckpointError: There is no such checkpoint; the message lists those of the folder.
    """
    path = Path(written)
    prefix = Path(without_file_ending(written))
    if prefix.with_name(prefix.name + ".index").is_file():
        return str(prefix)
    there = sorted(p.name.removesuffix(".index") for p in path.parent.glob("*.index"))
    hint = f"the folder has {listed(there)}" if there else f"there is no checkpoint in {path.parent}"
    raise CheckpointError(f"{written}: there is no such checkpoint or directory; {hint}")


def _source(name: str, mapped: Mapping[str, str]) -> str:
    """The name of an entry in the checkpoint: as mapped, through its mapped variable (a slot), or its own."""
    if name in mapped:
        return mapped[name]
    variable, _, slot = name.rpartition("/")
    if variable in mapped:
        return f"{mapped[variable]}/{slot}"
    return name


def _obstacle(
    entry: SavedTensor, source: str, reader: Reader, force_shape: bool, filters: Sequence[str]
) -> str | None:
    """Why an entry is not restored, or None."""
    for keyword in filters:
        if keyword in entry.name:
            return f"excluded by restore_filters {keyword!r}"
    if source not in reader:
        return f"{source} is not in the checkpoint{nearest(source, reader.shapes)}"
    why = mismatch(entry, source, reader)
    if why is None or entry.dynamic is not None or has_keys(source, reader):
        return why
    same_rank = len(reader.shapes[source]) == len(entry.shape) > 0
    if reader.dtype(source) == entry.dtype and same_rank:
        return None if force_shape else f"{why}; force_restore_shape_compatible would cut or pad it"
    return why


def _load_map(
    path: str, entries: Sequence[SavedTensor], reader: Reader
) -> tuple[dict[str, str], dict[str, str]]:
    """Reads a variable map.

    Returns:
        SavedTensor name -> checkpoint name, and the problems: line -> problem.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"fine_tune_ckpt_var_map {path}: can't be read: {error}") from error
    names = {e.name for e in entries}
    mapped: dict[str, str] = {}
    problems: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        fields = [field.removesuffix(":0") for field in line.split()]
        if not fields or fields[0].startswith("#"):
            continue
        why = None
        if len(fields) != 2:
            why = "expected 'name in this model<TAB>name in the checkpoint'"
        elif fields[0] in first:
            why = f"{fields[0]} is already mapped in line {first[fields[0]]}"
        elif fields[0] not in names:
            why = f"this model has no variable {fields[0]}{nearest(fields[0], names)}"
        elif fields[1] not in reader:
            why = f"the checkpoint has no variable {fields[1]}{nearest(fields[1], reader.shapes)}"
        if why:
            problems[f"line {number}"] = why
        if len(fields) == 2:
            first.setdefault(fields[0], number)
        if not why:
            mapped[fields[0]] = fields[1]
    return mapped, problems


def _report_problems(path: str, prefix: str, problems: Mapping[str, str]) -> str:
    texts = "\n".join(f"  {line}: {why}" for line, why in problems.items())
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return f"fine_tune_ckpt_var_map {path}: {count}, for {prefix}:\n{texts}"
