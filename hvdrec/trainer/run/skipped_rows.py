"""Reports how many rows `ignore_error` skipped, and whether the others counted."""

from __future__ import annotations

from typing import Any

from hvdrec.config.names import listed
from hvdrec.data.loader import Loader
from hvdrec.errors import DataError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.log import logger


def report_skipped_rows(proto: Any, group: ReplicaGroup, loader: Loader, what: str) -> None:
    """Warns, on rank 0, about the rows skipped by all ranks (collective if `ignore_error` is set).

    Args:
        proto: The config.
        group: The ranks.
        loader: This rank's input, read to its end.
        what: The purpose of the rows, such as "training".
    """
    if not proto.data_config.ignore_error:
        return
    bad, good, first = _counted(group, loader)
    if bad and group.rank == 0:
        logger.warning(
            "%s: %d of %d rows were skipped (ignore_error); the first: %s", what, bad, bad + good, first
        )


def all_left_out(group: ReplicaGroup, loader: Loader) -> str | None:
    """Describes the rows that were read, if all were skipped; None if no row was skipped (collective)."""
    bad, _, first = _counted(group, loader)
    return f"all of the {bad} rows that were read were skipped; the first: {first}" if bad else None


def need_weights(proto: Any, group: ReplicaGroup, loader: Loader) -> None:
    """Checks that a row that was trained on counted (collective if there are sample weights).

    Raises:
        DataError: The sample weights of all rows were 0.
    """
    column = proto.data_config.sample_weight
    if not column:
        return
    stats = loader.stats()
    gathered = group.gather_objects((stats.weightless, stats.rows))
    if any(rows for _, rows in gathered) and all(weightless or not rows for weightless, rows in gathered):
        raise DataError(
            f"data_config.sample_weight: column {column!r} was 0 in all rows, so nothing was trained"
        )


def report_empty_columns(group: ReplicaGroup, loader: Loader, what: str) -> None:
    """Warns, on rank 0, about columns without a value in any row of any rank (collective)."""
    stats = loader.stats()
    gathered = group.gather_objects((stats.unseen, stats.rows))
    unseen = [set(names) for names, rows in gathered if rows]
    everywhere = set.intersection(*unseen) if unseen else set()
    if everywhere and group.rank == 0:
        logger.warning(
            "%s: no row has a value for %s, so defaults were used; are the names right?",
            *(what, listed(sorted(everywhere))),
        )


def _counted(group: ReplicaGroup, loader: Loader) -> tuple[int, int, str | None]:
    """The numbers of skipped and used rows on all ranks, and the first skipped one (collective)."""
    stats = loader.stats()
    gathered = group.gather_objects((stats.bad_rows, stats.rows, stats.first_bad))
    bad, good = (sum(part[i] for part in gathered) for i in (0, 1))
    return bad, good, next((part[2] for part in gathered if part[2]), None)
