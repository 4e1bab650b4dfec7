"""Reads a file in large pieces; the unused end of a piece is carried over to the next."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from hvdrec.data.files import InputFile


class Stream(Protocol):
    """A sequential byte stream."""

    def readinto(self, buffer: np.ndarray) -> int:
        """Reads up to as many bytes as fit; 0 at the end."""

    def close(self) -> None:
        """Closes the underlying file."""


class Pieces:
    """One pass over the bytes of a file.

    Attributes:
        data: uint8; the current piece is ``data[begin:end]``, followed by `padding` more bytes.
        begin: The start of the unused bytes.
        end: The end of the piece.
        ended: Whether this is the last piece.
    """

    def __init__(self, file: InputFile, stream: Stream, piece_bytes: int, padding: int) -> None:
        """Takes ownership of the stream; `fill` reads the first piece."""
        self.data = np.empty(0, np.uint8)
        self.begin = 0
        self.end = 0
        self.ended = False
        self._file = file
        self._stream = stream
        self._piece_bytes = piece_bytes
        self._padding = padding

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    @property
    def rest(self) -> int:
        """The number of unused bytes."""
        return self.end - self.begin

    def fill(self) -> None:
        """Moves the unused bytes to a new buffer and reads more after them.

        Raises:
            DataError: The file can't be read.
        """
        rest = self.rest
        room = max(self._piece_bytes, 2 * rest)
        data = np.empty(room + self._padding, np.uint8)
        data[:rest] = self.data[self.begin : self.end]
        filled = rest
        with self._file.errors():
            while filled < room:
                read = self._stream.readinto(data[filled:room])
                if not read:
                    self.ended = True
                    break
                filled += read
        if filled < room // 2:
            data = data[: filled + self._padding].copy()
        self.data, self.begin, self.end = data, 0, filled
