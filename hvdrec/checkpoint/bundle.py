"""Rows of the variables of a TensorFlow V2 checkpoint, without reading the rest of them.

TensorFlow's own reader reads a whole variable into memory, however few of its rows are requested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint.index import INDEX_ERRORS, read_index
from hvdrec.checkpoint.reader import READ_ERRORS, Reader, message
from hvdrec.errors import DamagedError
from hvdrec.ops.native import load_native


class _Slice(NamedTuple):
    """Rows [first, last) of a variable that were saved together; `text` is TensorFlow's name for them."""

    first: int
    last: int
    text: str


class RowReader:
    """Reads ranges of rows; a variable saved in parts (see `Reader`) is read as one."""

    def __init__(self, reader: Reader) -> None:
        """Reads the index.

        Args:
            reader: The open checkpoint.

        Raises:
            DamagedError: The index can't be read.
        """
        self.prefix, self._reader = reader.prefix, reader
        try:
            self._entries, self._shards = read_index(Path(f"{reader.prefix}.index"))
        except INDEX_ERRORS as error:
            raise DamagedError(f"{reader.prefix}.index: can't be read: {message(error)}") from error
        self._kept: tuple[str, _Slice, np.ndarray] | None = None

    def read(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows [first, last) of a variable.

        Raises:
            DamagedError: They can't be read, or the slice that contains them fails its checksum. For a
                variable that was saved whole the checksum isn't compared; use `check`.
        """
        pieces, offset = [], 0
        for source, shape in self._parts(name):
            low, high = max(first - offset, 0), min(last - offset, shape[0])
            if low < high:
                pieces.append(self._rows(source, shape, low, high))
            offset += shape[0]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def shape(self, name: str) -> tuple[int, ...]:
        """The dimensions of a variable."""
        return self._reader.shapes[name]

    def check(self, name: str) -> None:
        """Compares the checksums of a variable, reading a small part of it at a time.

        Raises:
            DamagedError: It can't be read, or fails its checksum.
        """
        for source, shape in self._parts(name):
            slices = self._slices(source)
            if slices is None:
                entry = self._entries[source]
                if load_native().masked_crc32c(self._bytes(source)) != entry.crc32c:
                    raise DamagedError(f"{self.prefix}: {source} fails its checksum")
            for each in slices or ():
                self._rows(source, shape, each.first, each.last)

    def _parts(self, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        for source in self._reader.sources(name):
            yield source, tuple(d.size for d in self._entries[source].shape.dim)

    def _rows(self, source: str, shape: tuple[int, ...], first: int, last: int) -> np.ndarray:
        slices = self._slices(source)
        if slices is None:
            dtype = tf.as_dtype(self._entries[source].dtype).as_numpy_dtype
            width = math.prod(shape[1:]) * np.dtype(dtype).itemsize
            rows = np.array(self._bytes(source)[first * width : last * width]).view(dtype)
            return rows.reshape(last - first, *shape[1:])
        found = [
            self._slice(source, each)[max(first - each.first, 0) : last - each.first]
            for each in slices
            if each.first < last and first < each.last
        ]
        rows = found[0] if len(found) == 1 else np.concatenate(found)
        if len(rows) != last - first:
            raise DamagedError(f"{self.prefix}: slices of {source} are missing")
        return rows

    def _bytes(self, source: str) -> np.ndarray:
        """The bytes of a variable that was saved whole, mapped from the file."""
        entry = self._entries[source]
        path = f"{self.prefix}.data-{entry.shard_id:05d}-of-{self._shards:05d}"
        try:
            return np.memmap(path, np.uint8, "r", entry.offset, (entry.size,))
        except (OSError, ValueError) as error:
            raise DamagedError(f"{path}: can't be read: {message(error)}") from error

    def _slices(self, source: str) -> list[_Slice] | None:
        """The slices that a variable was saved in, by rows; None if it was saved whole.

        A variable that was split by columns is one slice with all rows.
        """
        entry = self._entries[source]
        if not entry.slices:
            return None
        shape = [d.size for d in entry.shape.dim]
        found = []
        for each in entry.slices:
            extents = [
                (e.start, size - e.start if e.WhichOneof("has_length") is None else e.length)
                for e, size in zip(each.extent, shape, strict=True)
            ]
            if any(extent != (0, size) for extent, size in zip(extents[1:], shape[1:], strict=True)):
                return [_Slice(0, shape[0], "")]
            spec = ":".join(
                f"{e.start},{length}" if e.WhichOneof("has_length") else "-"
                for e, (_, length) in zip(each.extent, extents, strict=True)
            )
            start, length = extents[0]
            found.append(_Slice(start, start + length, " ".join([*map(str, shape), spec])))
        return sorted(found)

    def _slice(self, source: str, wanted: _Slice) -> np.ndarray:
        """Reads a slice; the last one is cached, because it is read range by range."""
        if self._kept is None or self._kept[:2] != (source, wanted):
            self._kept = None
            try:
                with tf.device("/CPU:0"):
                    (value,) = tf.raw_ops.RestoreV2(
                        prefix=self.prefix,
                        tensor_names=[source],
                        shape_and_slices=[wanted.text],
                        dtypes=[tf.as_dtype(self._entries[source].dtype)],
                    )
            except READ_ERRORS as error:
                raise DamagedError(f"{self.prefix}: can't be read: {message(error)}") from error
            self._kept = source, wanted, value.numpy()
        return self._kept[2]
