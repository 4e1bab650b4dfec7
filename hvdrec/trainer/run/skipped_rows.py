"""Says how many rows `ignore_error` left out."""

from __future__ import annotations

from typing import Any

from hvdrec.data.loader import Loader
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.log import logger


def report_skipped_rows(proto: Any, group: ReplicaGroup, loader: Loader, what: str) -> None:
    """Warns, on rank 0, of the rows that all ranks left out (collective if `ignore_error` is set).

    Args:
        proto: The config.
        group: The ranks.
        loader: This rank's input, read to its end.
        what: What the rows were for, as "training".
    """
    if not proto.data_config.ignore_error:
        return
    bad, good, first = _counted(group, loader)
    if bad and group.rank == 0:
        logger.warning("%s: %d of %d rows were left out (ignore_error), as %s", what, bad, bad + good, first)


def all_left_out(group: ReplicaGroup, loader: Loader) -> str | None:
    """What became of the rows that were read, where all were left out; None where none was (collective)."""
    bad, _, first = _counted(group, loader)
    return f"all of the {bad} rows that were read are left out, as {first}" if bad else None


def _counted(group: ReplicaGroup, loader: Loader) -> tuple[int, int, str | None]:
    """Rows left out and taken on all ranks, and where one is that was left out (collective)."""
    stats = loader.stats()
    gathered = group.gather_objects((stats.bad_rows, stats.rows, stats.first_bad))
    bad, good = (sum(part[i] for part in gathered) for i in (0, 1))
    return bad, good, next((part[2] for part in gathered if part[2]), None)
