"""How far a pass over files has come, by their sizes."""

from __future__ import annotations

from collections.abc import Sequence

from hvdrec.data.rows import RowsFile


class ReadShare:
    """The share of its files' bytes (of tables' rows) that a pass has gone through.

    Of a compressed file only its end is known. Sizes are looked up when the share is first asked for.
    """

    def __init__(self, files: Sequence[RowsFile]) -> None:
        """Nothing has been read of these files."""
        self._all = files
        self._files: list[int] = []
        self._done: list[int] = []
        self._within = 0.0
        self._sizes: dict[int, int] = {}

    def begin(self, files: Sequence[int]) -> None:
        """A pass over these files, by their numbers, begins."""
        self._files, self._done, self._within = list(files), [], 0.0

    def within(self, share: float) -> None:
        """The pass has come so far, 0 to 1, in the file that it is in."""
        self._within = share

    def end_file(self, number: int) -> None:
        """The pass has come to the end of this file."""
        self._done.append(number)
        self._within = 0.0

    def size(self, number: int) -> int:
        """Bytes of a file as it is stored, rows of a table; 0 where that can't be known."""
        if number not in self._sizes:
            self._sizes[number] = self._all[number].size()
        return self._sizes[number]

    @property
    def value(self) -> float:
        """0 to 1; 0 as long as nothing is known."""
        done = len(self._done)
        total = sum(map(self.size, self._files))
        now = self.size(self._files[done]) * self._within if done < len(self._files) else 0.0
        return min(1.0, (sum(map(self.size, self._done)) + now) / total) if total else 0.0
