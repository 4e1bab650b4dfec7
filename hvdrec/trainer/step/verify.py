"""Checks that all replicas hold the same bits."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.errors import TrainingError
from hvdrec.parallel.group import ReplicaGroup


def checksums(entries: Sequence[SavedTensor]) -> list[int]:
    """CRC32 of each entry's bytes on this rank."""
    whole: dict[int, Any] = {}
    result = []
    for entry in entries:
        key = id(entry.variable)
        if key not in whole:
            whole = {key: entry.variable.numpy()}
        value = whole[key]
        part = value if entry.rows is None else value[entry.rows[0] : entry.rows[1]]
        result.append(zlib.crc32(part.tobytes()))
    return result


def verify_replicas(group: ReplicaGroup, entries: Sequence[SavedTensor], step: int) -> None:
    """Compares all variables that every rank holds (collective).

    Rows of a split table are on one rank alone: there is nothing to compare.

    Raises:
        TrainingError: Two ranks differ; the message names the first variable.
    """
    entries = [entry for entry in entries if not entry.split]
    gathered = group.gather_objects(checksums(entries))
    for position, entry in enumerate(entries):
        for rank, sums in enumerate(gathered):
            if sums[position] != gathered[0][position]:
                raise TrainingError(
                    f"step {step}: replicas differ: {entry.name} on rank {rank} "
                    "is not equal to that on rank 0"
                )
