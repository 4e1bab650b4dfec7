"""TFRecordInput and BatchTFRecordInput: tf.Examples with one row each, and tf.SequenceExamples with several
rows.

Every rank scans all records by their lengths and the lengths' checksums; only its own rows are fully checked
and parsed, in C++. Columns have the type of the file's values: text, int64, or float64 (from float32); values
missing in an example are null.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hvdrec.data.files import InputFile
from hvdrec.data.pieces import Pieces, Stream
from hvdrec.data.rows import BadRow, Block, FieldLike, Gathered, RowRefs, names_to_read
from hvdrec.data.share import ReadShare
from hvdrec.errors import ConfigError, DataError
from hvdrec.ops.native import load_native

#: The allowed values of `data_compression_type`.
COMPRESSIONS = ("", "GZIP", "ZLIB")
_BLOCK_BYTES = 8 << 20
_LARGEST_RECORD = 256 << 20
_READ_BYTES = 1 << 20
_TYPES = {"integers": pa.int64(), "numbers": pa.float64(), "texts": pa.binary()}
_FAULTS = {
    "length": "the checksum of a record's length is wrong: the file is damaged, compressed, or "
    "not a TFRecord file",
    "cut": "the file ends within a record",
}


class TfRecordFormat:
    """Rows of TFRecord files.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The number of values per row of each declared field (`input_shape`); above 1 the column has
            lists.
        sequences: Whether the records are tf.SequenceExamples, with one feature per row in each feature list.
        compression: `data_compression_type`; files that end in ``.gz`` or ``.zst`` are always decompressed.
        keep_raw: Also read all other declared fields, after those of `fields`.
        block_bytes: Bytes read at a time.

    Raises:
        ConfigError: A field isn't declared, or the compression is unknown.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, int],
        *,
        sequences: bool = False,
        compression: str = "",
        keep_raw: bool = False,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        if compression not in COMPRESSIONS:
            raise ConfigError(
                f"data_config.data_compression_type: {compression!r} is not one "
                f"of {', '.join(map(repr, COMPRESSIONS))}"
            )
        self.files = files
        self._native = load_native()
        self._share = ReadShare(files)
        self._sequences = sequences
        self._compression = compression
        self._block_bytes = block_bytes
        names = names_to_read(fields, declared, keep_raw)
        self._fields = [(name, declared[name] if sequences else 1) for name in names]

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            pieces = Pieces(self.files[number], self._open(self.files[number]), self._block_bytes, 0)
            try:
                yield from self._blocks_of(number, pieces)
            finally:
                pieces.close()
            self._share.end_file(number)

    def _open(self, file: InputFile) -> Stream:
        stream = file.open_stream()
        if file.compressed or not self._compression:
            return stream
        if self._compression == "GZIP":
            with file.errors():
                return pa.CompressedInputStream(stream, "gzip")
        return _ZlibStream(stream)

    def _blocks_of(self, number: int, pieces: Pieces) -> Iterator[Block]:
        file, row, read = self.files[number], 1, 0
        plain = not file.compressed and not self._compression
        while not pieces.ended:
            if pieces.rest > _LARGEST_RECORD:
                raise DataError(
                    f"{file.name}, row {row}: the record is longer than {_LARGEST_RECORD >> 20} MiB"
                )
            pieces.fill()
            block = self._native.RecordBlock(
                pieces.data, pieces.begin, pieces.end, pieces.ended, number, row, self._sequences
            )
            row += block.rows
            read += block.consumed - pieces.begin
            pieces.begin = block.consumed
            if plain:
                self._share.within(read / max(1, self._share.size(number)))
            if block.rows:
                yield block
            if block.fault:
                raise DataError(f"{file.name}, row {row}: {_FAULTS[block.fault]}")

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value

    def gather(self, rows: RowRefs) -> Gathered:
        """See `Format.gather`."""
        count, columns, files, lines, bad = self._native.parse_examples(
            self._fields, rows.blocks, rows.block, rows.index
        )
        arrays = [_array(count, *column) for column in columns]
        batch = pa.RecordBatch.from_arrays(arrays, [name for name, _ in self._fields])
        return Gathered(
            batch,
            files,
            lines,
            [BadRow(at, f"{self.files[file].name}, row {line}: {text}") for at, file, line, text in bad],
        )

    def compact(self, rows: RowRefs) -> Block:
        """See `Format.compact`."""
        return self._native.RecordBlock.gather(rows.blocks, rows.block, rows.index)


def _array(
    rows: int,
    kind: str,
    values: np.ndarray,
    offsets: np.ndarray | None,
    starts: np.ndarray | None,
    valid: np.ndarray | None,
) -> pa.Array:
    """Builds a column from the values parsed in C++."""
    data = pa.py_buffer(values)
    validity = None if valid is None else pa.py_buffer(valid)
    count = rows if starts is None else int(starts[-1])
    buffers = [validity, *([] if offsets is None else [pa.py_buffer(offsets)]), data]
    column = pa.Array.from_buffers(_TYPES[kind], count, buffers)
    return column if starts is None else pa.ListArray.from_arrays(pa.array(starts), column)


class _ZlibStream(io.RawIOBase):
    """The decompressed bytes of a zlib stream."""

    def __init__(self, stream: pa.NativeFile) -> None:
        super().__init__()
        self._stream = stream
        self._decompressor = zlib.decompressobj()
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._rest and not self._decompressor.eof:
            read = self._stream.read(_READ_BYTES)
            try:
                self._rest = self._decompressor.decompress(read) if read else self._decompressor.flush()
            except zlib.error as error:
                raise OSError(f"not compressed with zlib: {error}") from error
            if not read and not self._decompressor.eof:
                raise OSError("the compressed data is truncated")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
