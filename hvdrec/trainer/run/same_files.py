"""Checks that hosts without a shared file system have the same input files."""

from __future__ import annotations

import hashlib
import itertools
import socket
from collections.abc import Sequence

from hvdrec.data.rows import RowsFile
from hvdrec.errors import DataError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.storage import is_remote
from hvdrec.storage.maxcompute import is_table
from hvdrec.trainer.run.agree import raise_together

#: A file name, and its size (bytes, or the rows of a table).
_Described = tuple[str, int]


def need_same_files(files: Sequence[RowsFile], sizes: bool, group: ReplicaGroup) -> None:
    """Checks that every rank reads the same files as rank 0 (collective).

    Ranks on one machine see the same files, so they are not compared.

    Args:
        files: The files of this rank's input.
        sizes: Whether to compare sizes too, if they can differ.
        group: The ranks.

    Raises:
        DataError: This rank's files differ from rank 0's.
        PeerError: Another rank's files differ.
    """
    if group.one_host or group.size == 1:
        return
    described = [(f.name, f.size() if sizes and _may_differ(f.name) else 0) for f in files]
    digest = hashlib.sha256(repr(described).encode()).hexdigest()
    if len(set(group.gather_objects(digest))) == 1:
        return
    host = socket.gethostname()
    first = group.gather_objects((host, described) if group.rank == 0 else None)[0]
    error = None
    if described != first[1]:
        own = f"rank {group.rank} on {host}"
        error = DataError(
            f"{_difference(described, own, first[1], f'rank 0 on {first[0]}')}; every host needs the same "
            "input files at the same paths"
        )
    raise_together(group, error)


def _may_differ(name: str) -> bool:
    """A store's files are the same for all ranks; a table may grow between the listings of two ranks."""
    return is_table(name) or not is_remote(name)


def _difference(here: Sequence[_Described], own: str, there: Sequence[_Described], other: str) -> str:
    """Describes the first file that only one of two ranks reads, or that differs in size."""
    for mine, others in itertools.zip_longest(here, there):
        if mine is None or others is None or mine[0] != others[0]:
            found = f"{own} has {len(here)} input files, {other} has {len(there)}; the first that differs is "
            return found + f"{mine[0] if mine else 'none'} here, {others[0] if others else 'none'} there"
        if mine != others:
            return f"{mine[0]}: has size {mine[1]} for {own}, but {others[1]} for {other}"
    raise AssertionError("nothing differs")
