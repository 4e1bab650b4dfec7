"""Saves and restores the ranks' rows of split tables; all ranks take part."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hvdrec.checkpoint import files
from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.parts import read_parts, write_parts
from hvdrec.checkpoint.restore import RestoreReport
from hvdrec.checkpoint.store import Staged
from hvdrec.errors import CheckpointError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import raise_together, run_on_all_ranks


def save_parts(
    group: ReplicaGroup, saver: BackgroundSaver, step: int, entries: Sequence[SavedTensor]
) -> Staged | None:
    """Writes the rows of all ranks, while training waits (collective).

    Args:
        group: The ranks.
        saver: Rank 0's saver.
        step: `global_step`.
        entries: The content of the checkpoint.

    Returns:
        The written parts, or None if nothing is split.

    Raises:
        CheckpointError: They can't be written; the older checkpoints are unchanged.
    """
    if not any(entry.split for entry in entries):
        return None
    began = time.monotonic()
    folder = run_on_all_ranks(group, lambda: saver.begin(step) if group.rank == 0 else None)
    folder = group.gather_objects(folder)[0]
    prefix = folder / f"model.ckpt-{step}"
    written, error = write_parts(prefix, entries, group)
    try:
        raise_together(group, _explained(error, str(prefix)))
    except Exception:
        if group.rank == 0:
            files.remove_tree(folder)
        raise
    parts = [part for parts in group.gather_objects(written) for part in parts]
    return Staged(folder, parts, began)


def restore_parts(group: ReplicaGroup, entries: Sequence[SavedTensor], report: RestoreReport | None) -> None:
    """Reads the values of split variables that rank 0 has found (collective).

    Args:
        group: The ranks.
        entries: The same order on every rank; they include those of rank 0's report.
        report: Rank 0's report; other ranks have none.

    Raises:
        CheckpointError: A rank can't read; variables may have changed.
    """
    if not any(entry.split for entry in entries):
        return
    places = {(id(entry.variable), entry.rows): i for i, entry in enumerate(entries)}
    matches = report.parts if report else ()
    found = [(places[id(m.entry.variable), m.entry.rows], m.source) for m in matches]
    prefix, found = group.gather_objects((report and (report.files or report.prefix), found))[0]
    if not found:
        return
    error = read_parts(prefix, [(entries[i], source) for i, source in found], group)
    raise_together(group, error and CheckpointError(f"{prefix}: can't be read by this rank: {error}"))


def _explained(error: Exception | None, what: str) -> Exception | None:
    if error is None:
        return None
    try:
        with files.explained(f"can't save {what}"):
            raise error
    except Exception as explained:
        return explained
