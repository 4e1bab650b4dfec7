"""DummyInput: rows of default values, to time everything after the input."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa

from hvdrec.data.arrow_rows import ArrowBlock, ArrowRows, Stretch
from hvdrec.data.rows import FieldLike

_BLOCK_ROWS = 1 << 15


@dataclasses.dataclass(frozen=True)
class DummyRows:
    """The rows of one epoch."""

    rows: int
    name: str = "DummyInput"

    def size(self) -> int:
        """Its rows."""
        return self.rows

    def fingerprint(self) -> str:
        """A fingerprint of the input."""
        return f"{self.name} {self.rows}"


class DummyFormat(ArrowRows):
    """Rows with empty cells, so that each field takes its default.

    Args:
        files: The number of rows.
        fields: The requested columns, in the order of the result.
    """

    files: Sequence[DummyRows]

    def __init__(self, files: Sequence[DummyRows], fields: Sequence[FieldLike]) -> None:
        self.files = files
        self.declared = {}
        self.schema = pa.schema([(name, pa.binary()) for name in dict.fromkeys(f.name for f in fields)])
        self.share_read = 0.0

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        for number in files:
            rows = self.files[number].rows
            stretch = Stretch(self.files[number], number, self._read(rows))
            yield from stretch.blocks(0, rows, _BLOCK_ROWS)
        self.share_read = 1.0

    def _read(self, rows: int) -> Iterator[pa.Table]:
        for first in range(0, rows, _BLOCK_ROWS):
            empty = pa.array([b""] * min(_BLOCK_ROWS, rows - first), pa.binary())
            yield pa.Table.from_arrays([empty] * len(self.schema), schema=self.schema)
