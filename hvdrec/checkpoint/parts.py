"""Saves and restores variables that are split over the ranks; no rank ever holds a whole one.

Each rank that can see the checkpoint's folder handles a range of rows of every variable (`portions`): it
receives those rows from all ranks and writes them, or reads them and sends them to their owners, a bounded
number of bytes at a time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint import files
from hvdrec.checkpoint.bundle import RowReader
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.portions import Extent, Piece, rounds
from hvdrec.checkpoint.reader import Reader
from hvdrec.errors import DamagedError
from hvdrec.layers.banks.split import SplitVariable

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

_TOKEN = "written-by"


class Part(NamedTuple):
    """A checkpoint's variable that is split: the split variable, and the offset of its rows in that."""

    name: str
    variable: SplitVariable
    offset: int
    shape: tuple[int, ...]

    @property
    def extent(self) -> Extent:
        """Its size."""
        return Extent(self.shape[0], math.prod(self.shape[1:]) * self.variable.dtype.size)

    def width(self) -> int:
        """The number of values in a row."""
        return math.prod(self.shape[1:])

    def held(self, rank: int, piece: Piece) -> np.ndarray:
        """The rows of a piece that a rank holds, relative to the piece's first row."""
        first = self.offset + piece.first
        return self.variable.deal.held(rank, first, self.offset + piece.last)[1] - first


def parts_of(entries: Sequence[SavedTensor]) -> list[Part]:
    """The entries that are split."""
    return [Part(e.name, e.split, (e.rows or (0, 0))[0], e.shape) for e in entries if e.split is not None]


def write_parts(
    prefix: Path, entries: Sequence[SavedTensor], group: ReplicaGroup
) -> tuple[list[str], Exception | None]:
    """Writes the rows of all ranks' split variables (collective).

    Args:
        prefix: The beginning of the parts' names; its folder exists on rank 0.
        entries: The content of the checkpoint.
        group: The ranks.

    Returns:
        The prefixes that this rank has written and synced to disk, and the error if it couldn't write; it
        still takes part in the exchanges, so that the other ranks receive their rows.
    """
    parts, writers = parts_of(entries), _who_sees(prefix.parent, group)
    written: list[str] = []
    error: Exception | None = None
    if not writers:
        return written, OSError(errno.EIO, "can't be written to", str(prefix.parent))
    for number, pieces in enumerate(rounds([p.extent for p in parts], len(writers))):
        own = pieces[writers.index(group.rank)] if group.rank in writers else []
        values = _collect(parts, pieces, writers, own, group)
        if error is None and own:
            target = f"{prefix}.part-{group.rank}-{number}"
            try:
                _write(target, parts, own, values)
                written.append(target)
            except (OSError, tf.errors.OpError) as failure:
                error = failure
    return written, error


def read_parts(
    prefix: str, pairs: Sequence[tuple[SavedTensor, str]], group: ReplicaGroup
) -> Exception | None:
    """Reads the values of split variables from a checkpoint (collective).

    A value with a different shape is cut, or padded with zeros.

    Args:
        prefix: The checkpoint's path on rank 0.
        pairs: Entries, and the names of the checkpoint's variables.
        group: The ranks.

    Returns:
        The error if this rank couldn't read; it still takes part in the exchanges.
    """
    readers = _who_reads(prefix, group)
    error: Exception | None = None
    reader: RowReader | None = None
    try:
        reader = RowReader(Reader(prefix)) if group.rank in readers else None
    except DamagedError as failure:
        error = failure
    parts, names = parts_of([e for e, _ in pairs]), [name for _, name in pairs]
    for pieces in rounds([p.extent for p in parts], len(readers)):
        own = pieces[readers.index(group.rank)] if group.rank in readers else []
        values = []
        for piece in own:
            try:
                if reader is None or error is not None:
                    raise OSError("not read")
                values.append(_fitting(reader, names[piece.item], parts[piece.item].shape, piece))
            except Exception as failure:
                error = error or failure
                values.append(np.zeros((piece.last - piece.first, parts[piece.item].width()), np.float32))
        _distribute(parts, pieces, readers, own, values, group)
    return error


def gather_parts(
    entries: Sequence[SavedTensor], group: ReplicaGroup, put: Callable[[str, int, int, np.ndarray], None]
) -> None:
    """Sends all rows of split variables to rank 0 (collective).

    Args:
        entries: The variables; those that aren't split are skipped.
        group: The ranks.
        put: Called on rank 0 with an entry's name, a range of rows [first, last) and their values.
    """
    parts = parts_of(entries)
    for pieces in rounds([p.extent for p in parts], 1):
        own = pieces[0] if group.rank == 0 else []
        for piece, value in zip(own, _collect(parts, pieces, [0], own, group), strict=True):
            put(parts[piece.item].name, piece.first, piece.last, value)


def _who_sees(folder: Path, group: ReplicaGroup) -> list[int]:
    """The ranks that can see rank 0's folder."""
    token = uuid.uuid4().hex
    if group.rank == 0:
        with contextlib.suppress(OSError):
            files.write_synced(folder / _TOKEN, token)
    token, path = group.gather_objects((token, str(folder)))[0]
    try:
        seen = (Path(path) / _TOKEN).read_text(encoding="utf-8") == token
    except OSError:
        seen = False
    return [rank for rank, sees in enumerate(group.gather_objects(seen)) if sees]


def _who_reads(prefix: str, group: ReplicaGroup) -> list[int]:
    """The ranks that can see rank 0's checkpoint: those with the same index."""
    try:
        digest = hashlib.sha256(Path(f"{prefix}.index").read_bytes()).hexdigest()
    except OSError:
        digest = ""
    digests = group.gather_objects(digest)
    return [rank for rank, each in enumerate(digests) if each == digests[0]]


def _collect(
    parts: Sequence[Part],
    pieces: Sequence[Sequence[Piece]],
    workers: Sequence[int],
    own: Sequence[Piece],
    group: ReplicaGroup,
) -> list[np.ndarray]:
    """Sends each worker the rows of its pieces (collective); returns those of `own`, float32 [rows, ...]."""
    received = _exchange(*_requested(parts, pieces, workers, group), group)
    found = [np.empty((p.last - p.first, parts[p.item].width()), np.float32) for p in own]
    place = 0
    for rank in range(group.size):
        for piece, value in zip(own, found, strict=True):
            rows = parts[piece.item].held(rank, piece)
            size = len(rows) * value.shape[1]
            value[rows] = received[place : place + size].reshape(len(rows), value.shape[1])
            place += size
    return [v.reshape(-1, *parts[p.item].shape[1:]) for p, v in zip(own, found, strict=True)]


def _distribute(
    parts: Sequence[Part],
    pieces: Sequence[Sequence[Piece]],
    workers: Sequence[int],
    own: Sequence[Piece],
    values: list[np.ndarray],
    group: ReplicaGroup,
) -> None:
    """The inverse of `_collect`: workers send rows to the ranks that hold them (collective)."""
    message, counts = _held(parts, own, values, group)
    # A rank has no memory to spare: what is in the message need not be held as well.
    values.clear()
    received, place = _exchange(message, counts, group), 0
    del message
    for _, given in zip(workers, pieces, strict=True):
        for piece in given:
            part = parts[piece.item]
            rows = len(part.held(group.rank, piece))
            size = rows * part.width()
            part.variable.write(
                part.offset + piece.first,
                part.offset + piece.last,
                received[place : place + size].reshape(rows, *part.shape[1:]),
            )
            place += size


def _requested(
    parts: Sequence[Part], pieces: Sequence[Sequence[Piece]], workers: Sequence[int], group: ReplicaGroup
) -> tuple[np.ndarray, np.ndarray]:
    """This rank's rows of all workers' pieces, float32 [N], and how many of the values go to each rank."""
    wanted = [(worker, piece) for worker, given in zip(workers, pieces, strict=True) for piece in given]
    sizes = [len(parts[p.item].held(group.rank, p)) * parts[p.item].width() for _, p in wanted]
    counts = np.zeros(group.size, np.int32)
    message, place = np.empty(sum(sizes), np.float32), 0
    for (worker, (item, first, last)), size in zip(wanted, sizes, strict=True):
        part = parts[item]
        rows = part.variable.read(part.offset + first, part.offset + last)
        message[place : place + size] = rows.reshape(-1)
        counts[worker] += size
        place += size
    return message, counts


def _held(
    parts: Sequence[Part], own: Sequence[Piece], values: Sequence[np.ndarray], group: ReplicaGroup
) -> tuple[np.ndarray, np.ndarray]:
    """The values of `own` by the rank that holds them, float32 [N], and how many go to each rank."""
    counts, places = np.zeros(group.size, np.int32), []
    for rank in range(group.size):
        for piece, value in zip(own, values, strict=True):
            places.append((value, parts[piece.item].held(rank, piece)))
            counts[rank] += len(places[-1][1]) * value.shape[1]
    message, place = np.empty(counts.sum(), np.float32), 0
    for value, rows in places:
        shape = len(rows), value.shape[1]
        # With the default mode, it would take a copy.
        np.take(value, rows, 0, message[place : place + math.prod(shape)].reshape(shape), mode="clip")
        place += math.prod(shape)
    return message, counts


def _exchange(message: np.ndarray, counts: np.ndarray, group: ReplicaGroup) -> np.ndarray:
    with tf.device("/CPU:0"):
        received, _ = group.exchange(
            tf.convert_to_tensor(message), tf.convert_to_tensor(counts), "checkpoint/rows"
        )
    # Unlike `numpy()`, this doesn't copy.
    return np.asarray(memoryview(received))


def _write(target: str, parts: Sequence[Part], own: Sequence[Piece], values: Sequence[np.ndarray]) -> None:
    specs = []
    for item, first, last in own:
        shape = parts[item].shape
        slices = ":".join([f"{first},{last - first}", *("-" for _ in shape[1:])])
        specs.append(" ".join([*map(str, shape), slices]))
    with tf.device("/CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=target,
            tensor_names=[parts[p.item].name for p in own],
            shape_and_slices=specs,
            tensors=[tf.convert_to_tensor(v) for v in values],
        )
    for path in (f"{target}.index", f"{target}.data-00000-of-00001"):
        files.sync_file(Path(path))


def _fitting(reader: RowReader, name: str, shape: tuple[int, ...], piece: Piece) -> np.ndarray:
    """The rows of a piece, float32 [rows, values per row]."""
    stored = reader.shape(name)
    if stored[1:] == shape[1:] and piece.last <= stored[0]:
        rows = reader.read(name, piece.first, piece.last)
        return rows.astype(np.float32, copy=False).reshape(len(rows), -1)
    found = np.zeros((piece.last - piece.first, *shape[1:]), np.float32)
    last = min(piece.last, stored[0])
    if piece.first < last:
        rows = reader.read(name, piece.first, last)
        common = tuple(slice(min(a, b)) for a, b in zip(rows.shape[1:], shape[1:], strict=True))
        found[(slice(len(rows)), *common)] = rows[(slice(None), *common)]
    return found.reshape(len(found), -1)
