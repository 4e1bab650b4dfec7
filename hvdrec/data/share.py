"""The progress of a pass over files, by their sizes."""

from __future__ import annotations

from collections.abc import Sequence

from hvdrec.data.rows import RowsFile


class ReadShare:
    """The fraction of its files' bytes (or tables' rows) that a pass has read.

    The progress inside a compressed file is unknown. Sizes are looked up on first use.
    """

    def __init__(self, files: Sequence[RowsFile]) -> None:
        """Starts before the first byte of these files."""
        self._all = files
        self._files: list[int] = []
        self._done: list[int] = []
        self._within = 0.0
        self._sizes: dict[int, int] = {}

    def begin(self, files: Sequence[int]) -> None:
        """Records the start of a pass over these files (by number)."""
        self._files, self._done, self._within = list(files), [], 0.0

    def within(self, share: float) -> None:
        """Records the progress, 0 to 1, in the current file."""
        self._within = share

    def end_file(self, number: int) -> None:
        """Records the end of a file."""
        self._done.append(number)
        self._within = 0.0

    def size(self, number: int) -> int:
        """The stored bytes of a file, or the rows of a table; 0 if unknown."""
        if number not in self._sizes:
            self._sizes[number] = self._all[number].size()
        return self._sizes[number]

    @property
    def value(self) -> float:
        """The fraction, 0 to 1; 0 while nothing is known."""
        done = len(self._done)
        total = sum(map(self.size, self._files))
        now = self.size(self._files[done]) * self._within if done < len(self._files) else 0.0
        return min(1.0, (sum(map(self.size, self._done)) + now) / total) if total else 0.0
