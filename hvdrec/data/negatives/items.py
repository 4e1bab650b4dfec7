"""Item tables, packed once into files that all processes of a machine map into their memory.

An item takes 40 bytes and its attributes: id 8, weight 4, end of the attributes 8, place in the input 12,
entry of the alias table 8. Packing reads the input block by block, so no process ever holds the table; an
alias table needs 12 bytes an item for a while, in one process. The kernel may drop pages that aren't used
(places and weights never are while items are drawn) and read them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.files import list_files
from hvdrec.data.negatives.tables import Column, Places, TablePart, read_table
from hvdrec.errors import DataError
from hvdrec.ops.native import load_native
from hvdrec.storage import work_dir
from hvdrec.storage.shared_folder import SharedFolder

#: Part of the key of a packed table; changes with the form of the files.
_FORM = 1
_TYPES: dict[str, type] = {
    "ids": np.int64,
    "weights": np.float32,
    "ends": np.int64,
    "features": np.uint8,
    "files": np.int32,
    "lines": np.int64,
}
_ALIAS = "alias"
#: Written last.
_DONE = "table.json"


@dataclasses.dataclass(frozen=True)
class ItemTable:
    """The items to draw from.

    Attributes:
        ids: int64 [items].
        weights: float32 [items].
        features: large_binary [items], the attributes of each, joined by `delimiter`.
        delimiter: The delimiter.
        fields: The names of the attributes.
        folder: The files.
        sources: The names of the input's files.
    """

    ids: np.ndarray
    weights: np.ndarray
    features: pa.Array
    delimiter: str
    fields: tuple[str, ...]
    folder: SharedFolder
    sources: tuple[str, ...]

    def where(self, item: int) -> str:
        """Where an item is in the input, such as "items.txt, row 17"."""
        files, lines = (_mapped(self.folder.path, name) for name in ("files", "lines"))
        return Places(self.sources, files, lines).where(item)

    def columns(self, places: np.ndarray) -> pa.RecordBatch:
        """The attributes of some items as text columns.

        Args:
            places: int32 [n], indices of items.
        """
        taken = pc.cast(pc.take(self.features, pa.array(places)), pa.binary())
        parts = pc.list_flatten(pc.split_pattern(taken, self.delimiter.encode()))
        width = len(self.fields)
        starts = np.arange(len(places), dtype=np.int64) * width
        arrays = [pc.take(parts, pa.array(starts + i)) for i in range(width)]
        return pa.RecordBatch.from_arrays(arrays, list(self.fields))

    @property
    def nbytes(self) -> int:
        """The size of the files, in bytes."""
        return sum(file.stat().st_size for file in self.folder.path.iterdir())

    def sampler(self, weighted: bool) -> Any:
        """The C++ sampler (`ItemSampler`); makes the alias table if no process has.

        Args:
            weighted: Whether items are drawn by weight; otherwise all are equally likely.

        Raises:
            DataError: No weight is above 0, or the table has too many items.
        """
        if not weighted:
            return load_native().ItemSampler(self.ids, None)
        path = self.folder.path / _ALIAS
        with _alone(self.folder.path):
            if not path.exists():
                _make_alias_table(path, self.weights)
        return load_native().ItemSampler(self.ids, np.memmap(path, np.uint64, "r"))


def read_items(path: str, what: str, fields: Sequence[str], delimiter: str) -> ItemTable:
    """Opens an item table: ``id:int64``, ``weight:float`` and ``feature:string`` (all attributes in one
    cell).

    The first process of a machine packs it; the others, also of other runs, map the same files. The last to
    end removes them.

    Args:
        path: See `read_table`.
        what: The setting that the path comes from, for messages.
        fields: The names of the attributes.
        delimiter: The separator of the attributes.

    Raises:
        DataError: The table can't be used; the message names file, row and column.
    """
    folder = _folder(_key(path, what, fields, delimiter))
    done = folder.path / _DONE
    try:
        with _alone(folder.path):
            if not done.exists():
                _pack(folder.path, path, what, tuple(fields), delimiter)
    except OSError as error:
        raise DataError(
            f"{what}: the items can't be packed into {folder.path} ({error.strerror}); "
            "set HVDREC_WORK_DIR to another folder"
        ) from error
    described = json.loads(done.read_text())
    ends = pa.py_buffer(_mapped(folder.path, "ends"))
    text = pa.py_buffer(_mapped(folder.path, "features"))
    ids = _mapped(folder.path, "ids")
    return ItemTable(
        ids=ids,
        weights=_mapped(folder.path, "weights"),
        features=pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ids), [None, ends, text]),
        delimiter=delimiter,
        fields=tuple(fields),
        folder=folder,
        sources=tuple(described["sources"]),
    )


def _key(path: str, what: str, fields: Sequence[str], delimiter: str) -> str:
    """Identifies a packed table; a random key if the input can't be identified."""
    described: list[object] = [_FORM, list(fields), delimiter]
    for file in [] if path.startswith("odps://") else list_files([path], what):
        content = file.fingerprint()
        modified = 0 if file.remote or not content else os.stat(file.path).st_mtime_ns
        described.append([file.name, file.size(), content or uuid.uuid4().hex, modified])
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]


def _folder(key: str) -> SharedFolder:
    try:
        return SharedFolder(Path(work_dir()) / f"hvdrec-items-{os.geteuid()}-{key}")
    except OSError as error:
        raise DataError(
            f"item tables need a folder with file locks, and {work_dir()} isn't one ({error}); "
            "set HVDREC_WORK_DIR to another folder"
        ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes out while one makes files."""
    with open(folder / ".making", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _mapped(folder: Path, name: str) -> np.ndarray:
    path = folder / name
    if not path.stat().st_size:
        return np.zeros(0, _TYPES[name])
    return np.memmap(path, _TYPES[name], "r")


def _pack(folder: Path, path: str, what: str, fields: tuple[str, ...], delimiter: str) -> None:
    count, end = 0, 0
    sources: tuple[str, ...] = ()
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / name, "wb")) for name in _TYPES}
        files["ends"].write(np.zeros(1, np.int64).data)
        for part in read_table(path, what, (Column("id", 0), Column("weight", 1), Column("feature", 2))):
            columns = {"ids": part.whole_numbers(0), "weights": part.numbers(1)}
            _check_attributes(part, fields, delimiter)
            text = pc.fill_null(part.cells[2], b"")
            lengths = pc.binary_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
            assert part.places is not None
            sources = part.places.sources
            columns |= {"files": part.places.files, "lines": part.places.lines}
            columns["ends"] = end + np.cumsum(lengths)
            columns["features"] = np.frombuffer(b"".join(text.to_pylist()), np.uint8)
            for name, values in columns.items():
                files[name].write(np.ascontiguousarray(values, _TYPES[name]).data)
            count, end = count + len(lengths), end + int(lengths.sum())
        # A machine that loses its power may otherwise keep the last file without the others.
        for written in files.values():
            written.flush()
            os.fsync(written.fileno())
    if not count:
        raise DataError(f"{what}: {path} has no items")
    # The file appears only when all others are complete.
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
        json.dump({"sources": sources}, file)
    os.replace(file.name, folder / _DONE)


def _check_attributes(part: TablePart, fields: tuple[str, ...], delimiter: str) -> None:
    counts = pc.count_substring(part.cells[2], delimiter.encode()).to_numpy(zero_copy_only=False) + 1
    bad = counts != len(fields)
    if bad.any():
        row = int(np.argmax(bad))
        raise part.error(
            row,
            2,
            f"{counts[row]} attributes separated by {delimiter!r}, but attr_fields names {len(fields)}",
        )


def _make_alias_table(path: Path, weights: np.ndarray) -> None:
    temporary = path.with_suffix(".part")
    size = 8 * len(weights)
    try:
        with temporary.open("wb") as file:
            # A mapped file that outgrows the disk would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
        table = np.memmap(temporary, np.uint64, "r+")
        load_native().fill_alias_table(weights, table)
        table.flush()
    except ValueError as error:
        raise DataError(f"the item table: {error}") from error
    except OSError as error:
        raise DataError(f"{path.parent}: {size} bytes for an alias table: {error.strerror}") from error
    temporary.replace(path)
