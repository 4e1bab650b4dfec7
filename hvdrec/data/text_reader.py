"""The lines of a text file, in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import numpy as np

from hvdrec.data.files import InputFile
from hvdrec.data.pieces import Pieces
from hvdrec.data.rows import Block
from hvdrec.errors import DataError

_LONGEST_LINE = 256 << 20
_BOM = b"\xef\xbb\xbf"
#: Beginnings of files that aren't text in UTF-8, each as a pattern, and what to do.
_OTHERS = {
    rb"PAR1[\x00-\x1f]": "is a Parquet file; read it with data_config.input_type: ParquetInput",
    rb"ORC[\x00-\x1f]": "is an ORC file; read it with data_config.input_type: HiveInput",
    rb"\x1f\x8b": "is compressed by gzip; its name must then end in .gz",
    rb"\x28\xb5\x2f\xfd": "is compressed by zstd; its name must then end in .zst",
    rb"BZh[1-9]1": "is compressed by bzip2, which is not supported; unpack it, or use gzip or zstd",
    rb"\xfd7zXZ": "is compressed by xz, which is not supported; unpack it, or use gzip or zstd",
    rb"PK\x03\x04": "is a zip archive; unpack it",
    rb"\xff\xfe|\xfe\xff": "is text in UTF-16; convert it to UTF-8",
}
_LONGEST_BEGINNING = 5


class TextReader:
    """Reads one file in large pieces, cut at the last newline in each.

    Attributes:
        read: Bytes of text in the blocks so far.
    """

    def __init__(self, native: ModuleType, file: InputFile, number: int, block_bytes: int) -> None:
        """Opens a file.

        Args:
            native: `hvdrec._native`.
            file: The file.
            number: The file's number in the input.
            block_bytes: Bytes read at a time.

        Raises:
            DataError: The file can't be read, or isn't text.
        """
        self._native = native
        self._file = file
        self._number = number
        self._pieces = Pieces(file, file.open_stream(), max(block_bytes, len(_BOM)), native.LINE_PADDING)
        self._next_line = 1
        self.read = 0
        self._fill()
        if self._pieces.data[: min(self._pieces.end, len(_BOM))].tobytes() == _BOM:
            self._pieces.begin = len(_BOM)
        beginning = self._pieces.data[: min(self._pieces.end, _LONGEST_BEGINNING)].tobytes()
        for pattern, what in _OTHERS.items():
            if re.match(pattern, beginning):
                self.close()
                raise DataError(f"{file.name}: {what}")

    def close(self) -> None:
        """Closes the file."""
        self._pieces.close()

    def _fill(self) -> None:
        if self._pieces.rest > _LONGEST_LINE:
            raise DataError(
                f"{self._file.name}, row {self._next_line}: the line is longer than {_LONGEST_LINE >> 20} MiB"
            )
        self._pieces.fill()

    def header(self) -> bytes | None:
        """Consumes the first non-empty line; None if there is none."""
        while True:
            found = self._first_line()
            if found is None:
                return None
            line, size = found
            self._pieces.begin += size
            self._next_line += 1
            if line:
                return line

    def peek(self) -> bytes | None:
        """The first non-empty line, without consuming it; None if there is none."""
        offset = 0
        while True:
            found = self._first_line(offset)
            if found is None or found[0]:
                return found[0] if found else None
            offset += found[1]

    def _first_line(self, offset: int = 0) -> tuple[bytes, int] | None:
        """The line that begins at a byte offset, and its length including the line end."""
        pieces = self._pieces
        while True:
            text = pieces.data[pieces.begin + offset : pieces.end]
            stop = _find_newline(text)
            if stop < 0 and not pieces.ended:
                self._fill()
                continue
            if stop < 0 and not len(text):
                return None
            line = (text if stop < 0 else text[:stop]).tobytes().removesuffix(b"\r")
            return line, len(text) if stop < 0 else stop + 1

    def blocks(self) -> Iterator[Block]:
        """The rest of the file."""
        pieces = self._pieces
        while True:
            block = self._native.LineBlock(
                pieces.data, pieces.begin, pieces.end, pieces.ended, self._number, self._next_line
            )
            self._next_line += block.lines
            self.read += block.consumed - pieces.begin
            pieces.begin = block.consumed
            if block.rows:
                yield block
            if pieces.ended:
                return
            self._fill()


def _find_newline(text: np.ndarray) -> int:
    """Returns the position of the first newline, -1 if there is none, without copying a whole block."""
    for start in range(0, len(text), 1 << 16):
        at = text[start : start + (1 << 16)].tobytes().find(b"\n")
        if at >= 0:
            return start + at
    return -1
