"""The common part of text formats: splits lines into columns of raw bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from hvdrec.data.files import InputFile
from hvdrec.data.rows import BadRow, Block, Gathered, RowRefs
from hvdrec.data.share import ReadShare
from hvdrec.data.text_reader import TextReader
from hvdrec.ops.native import load_native


class LineFormat:
    """Iterates over the lines of files and splits selected ones.

    Attributes:
        files: The files, in listed order.
        splitter: The line splitter; a format sets where the columns are in a file's lines.
        numbered: What the number of a line is called in messages.
    """

    numbered = "row"

    def __init__(
        self, files: Sequence[InputFile], names: Sequence[str], separator: bytes, quoting: bool, size: int
    ) -> None:
        """Starts without the layout of any file.

        Args:
            files: The files.
            names: The requested columns, in the order of the result.
            separator: Between cells.
            quoting: See `CsvFormat`.
            size: Bytes read at a time.
        """
        self.files = files
        self.native = load_native()
        self._share = ReadShare(files)
        self._block_bytes = size
        self._separator = separator
        self._schema = pa.schema([(name, pa.binary()) for name in names])
        self.splitter: Any = self.native.LineSplitter(separator, quoting, len(names))

    def reader(self, number: int) -> TextReader:
        """Opens a file."""
        return TextReader(self.native, self.files[number], number, self._block_bytes)

    def begin_file(self, number: int, reader: TextReader) -> bool:
        """Finds where the columns are in a file's lines; returns whether it has any."""
        return True

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            reader = self.reader(number)
            try:
                if not self.begin_file(number, reader):
                    self._share.end_file(number)
                    continue
                for block in reader.blocks():
                    if not self.files[number].compressed:
                        self._share.within(reader.read / max(1, self._share.size(number)))
                    yield block
            finally:
                reader.close()
            self._share.end_file(number)

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value

    def gather(self, rows: RowRefs) -> Gathered:
        """See `Format.gather`."""
        count, offsets, data, starts, files, lines, bad = self.splitter.split(
            rows.blocks, rows.block, rows.index
        )
        offsets, data = pa.py_buffer(offsets), pa.py_buffer(data)
        starts = starts.tolist()
        stride = 4 * (count + 1)
        arrays = [
            pa.Array.from_buffers(
                pa.binary(),
                count,
                [
                    None,
                    offsets.slice(field * stride, stride),
                    data.slice(starts[field], starts[field + 1] - starts[field]),
                ],
                0,
            )
            for field in range(len(self._schema))
        ]
        columns = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return Gathered(columns, files, lines, [self._bad_row(*row) for row in bad])

    def _bad_row(self, position: int, columns: int, file: int, line: int, nested: bool) -> BadRow:
        return BadRow(
            position,
            f"{self.files[file].name}, {self.numbered} {line}: {self.problem(columns, file, nested)}",
        )

    def problem(self, columns: int, file: int, nested: bool) -> str:
        """Describes the problem with a row of `columns` columns (below 0: a bad quote)."""
        if columns < 0:
            return "a quoted cell is not closed, or is followed by more text"
        expected = self.splitter.width(file)
        text = f"found {columns} columns, expected {expected}"
        if columns == 1 < expected:
            text += f"; check data_config.separator, which is {self._separator.decode()!r}"
        return text

    def compact(self, rows: RowRefs) -> Block:
        """See `Format.compact`."""
        return self.native.LineBlock.gather(rows.blocks, rows.block, rows.index)
