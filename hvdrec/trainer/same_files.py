"""Hosts without a common file system each have their own files: they must be the same ones."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Sequence

from hvdrec.data.rows import RowsFile
from hvdrec.errors import DataError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.agree import raise_together


def need_same_files(files: Sequence[RowsFile], sizes: bool, group: ReplicaGroup) -> None:
    """Makes sure that every rank reads the files that rank 0 reads (collective).

    Ranks of one machine see the same files, so nothing is asked there.

    Args:
        files: Of this rank's input.
        sizes: Compare their sizes too, where they are on a local disk.
        group: The ranks.

    Raises:
        DataError: This rank's files differ from rank 0's.
        PeerError: Another's do.
    """
    if group.size == group.local_size:
        return
    described = [(f.name, f.size() if sizes and not f.remote else 0) for f in files]
    digest = hashlib.sha256(repr(described).encode()).hexdigest()
    told = f"{len(files)} file{'' if len(files) == 1 else 's'} of {sum(s for _, s in described)} bytes"
    host, there, expected = group.gather_objects((socket.gethostname(), told, digest))[0]
    error = None
    if digest != expected:
        error = DataError(
            f"{files[0].name}: rank {group.rank} on {socket.gethostname()} finds {told}, rank 0 on {host} "
            f"finds {there}; every host needs the same input files at the same paths"
        )
    raise_together(group, error)
