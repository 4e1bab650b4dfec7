"""CSVInput: delimited text, plain or compressed.

Every rank goes through all bytes to find the lines (at memchr's speed) and splits only the rows it
takes. Cells come as raw bytes; what they mean is the packer's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np
import pyarrow as pa

from hvdrec.data.files import InputFile
from hvdrec.data.rows import BadRow, Block, FieldLike, Gathered, RowRefs, need_selected
from hvdrec.data.share import ReadShare
from hvdrec.errors import ConfigError, DataError
from hvdrec.ops.native import load_native

_BLOCK_BYTES = 8 << 20
_LONGEST_LINE = 256 << 20
_BOM = b"\xef\xbb\xbf"


class CsvFormat:
    """Rows of delimited text files.

    Args:
        files: The files, in listed order.
        fields: The columns wanted, in the order of the result.
        declared: Names of all columns of a file without a header, in order.
        separator: One or more characters between cells.
        with_header: The first line of each file names its columns; order and number may differ by file.
        quoting: A cell that begins with ``"`` lasts to its closing quote (RFC 4180, without newlines).
        selected: With a header: the only columns that may be read; empty for all.
        keep_raw: Also read all other columns, after those of `fields`.
        block_bytes: Bytes read at a time.

    Raises:
        ConfigError: A field isn't declared, or the separator can't be one.
        DataError: The first file's header can't be read (only with `keep_raw`).
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Sequence[str],
        *,
        separator: str = ",",
        with_header: bool = False,
        quoting: bool = False,
        selected: Sequence[str] = (),
        keep_raw: bool = False,
        block_bytes: int = _BLOCK_BYTES,
    ) -> None:
        if not separator or any(c in separator for c in '\r\n"'):
            raise ConfigError(f'data_config.separator: {separator!r} is empty or has a newline or a " in it')
        self.files = files
        self._share = ReadShare(files)
        self._native = load_native()
        self._separator = separator.encode()
        self._quoting = quoting
        self._with_header = with_header
        self._selected = tuple(selected) if with_header else ()
        self._block_bytes = block_bytes
        self._declared = list(declared)
        self._names = list(dict.fromkeys(field.name for field in fields))
        self._check_names()
        if keep_raw:
            everything = self._first_header() if with_header else self._declared
            if self._selected:
                everything = [name for name in everything if name in self._selected]
            self._names += [name for name in everything if name not in self._names]
        self._schema = pa.schema([(name, pa.binary()) for name in self._names])
        self._splitter = self._native.LineSplitter(self._separator, quoting, len(self._names))
        if not with_header:
            columns = [self._declared.index(name) for name in self._names]
            for number in range(len(files)):
                self._splitter.set_layout(number, columns, len(self._declared))

    def _check_names(self) -> None:
        if self._with_header:
            need_selected(self._names, self._selected)
            return
        missing = [name for name in self._names if name not in self._declared]
        if missing:
            raise ConfigError(f"data_config.input_fields: no field is called {', '.join(missing)}")

    def _first_header(self) -> list[str]:
        for number, file in enumerate(self.files):
            reader = _TextReader(self._native, file, number, self._block_bytes)
            try:
                line = reader.header()
            finally:
                reader.close()
            if line is not None:
                return self._header_names(file, line)
        return []

    def _header_names(self, file: InputFile, line: bytes) -> list[str]:
        cells = self._native.LineSplitter(self._separator, self._quoting, 0).cells(line)
        if cells is None:
            raise DataError(f"{file.name}, row 1: a quote in the header isn't closed")
        try:
            return [cell.decode().strip() for cell in cells]
        except UnicodeDecodeError as error:
            raise DataError(f"{file.name}, row 1: the header isn't UTF-8 text") from error

    def _lay_out(self, number: int, line: bytes) -> None:
        """Finds the wanted columns in a file's header."""
        file = self.files[number]
        names = self._header_names(file, line)
        columns = []
        for name in self._names:
            count = names.count(name)
            if count != 1:
                problem = f"{count} columns are" if count else "no column is"
                raise DataError(f"{file.name}, row 1: {problem} called {name} in the header")
            columns.append(names.index(name))
        self._splitter.set_layout(number, columns, len(names))

    def blocks(self, files: list[int]) -> Iterator[Block]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            reader = _TextReader(self._native, self.files[number], number, self._block_bytes)
            try:
                if self._with_header:
                    header = reader.header()
                    if header is None:
                        self._share.end_file(number)
                        continue
                    self._lay_out(number, header)
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
        count, offsets, data, starts, files, lines, bad = self._splitter.split(
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
            for field in range(len(self._names))
        ]
        columns = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        return Gathered(columns, files, lines, [self._bad_row(*row) for row in bad])

    def _bad_row(self, position: int, columns: int, file: int, line: int) -> BadRow:
        if columns < 0:
            problem = "a quoted cell isn't closed, or is followed by more text"
        else:
            expected = self._splitter.width(file)
            problem = f"{columns} columns where {expected} are expected"
            if columns == 1 < expected:
                problem += f"; is data_config.separator right? It is {self._separator.decode()!r}"
        return BadRow(position, f"{self.files[file].name}, row {line}: {problem}")

    def compact(self, rows: RowRefs) -> Block:
        """See `Format.compact`."""
        return self._native.LineBlock.gather(rows.blocks, rows.block, rows.index)


class _TextReader:
    """Reads one file in large pieces, cut at the last newline in each.

    Attributes:
        read: Bytes of text in the blocks so far.
    """

    def __init__(self, native: ModuleType, file: InputFile, number: int, block_bytes: int) -> None:
        self._native = native
        self._file = file
        self._number = number
        self._block_bytes = max(block_bytes, len(_BOM))
        self._stream = file.open_stream()
        self._next_line = 1
        self.read = 0
        self._begin = 0
        self._ended = False
        self._text = np.empty(0, np.uint8)
        self._end = 0
        self._fill()
        if self._text[: min(self._end, len(_BOM))].tobytes() == _BOM:
            self._begin = len(_BOM)

    def close(self) -> None:
        self._stream.close()

    def _fill(self) -> None:
        """Moves what is left to a new buffer and reads on behind it."""
        padding = self._native.LINE_PADDING
        rest = self._end - self._begin
        if rest > _LONGEST_LINE:
            raise DataError(
                f"{self._file.name}, row {self._next_line}: the line is over {_LONGEST_LINE >> 20} MiB long"
            )
        room = max(self._block_bytes, 2 * rest)
        text = np.empty(room + padding, np.uint8)
        text[:rest] = self._text[self._begin : self._end]
        filled = rest
        with self._file.errors():
            while filled < room:
                read = self._stream.readinto(text[filled:room])
                if not read:
                    self._ended = True
                    break
                filled += read
        if filled < room // 2:
            text = text[: filled + padding].copy()
        self._text, self._begin, self._end = text, 0, filled

    def header(self) -> bytes | None:
        """Takes the first line that isn't empty; None if there is none."""
        while True:
            text = self._text[self._begin : self._end]
            stop = _find_newline(text)
            if stop < 0 and not self._ended:
                self._fill()
                continue
            if stop < 0 and not len(text):
                return None
            line = (text if stop < 0 else text[:stop]).tobytes().removesuffix(b"\r")
            self._begin += len(text) if stop < 0 else stop + 1
            self._next_line += 1
            if line:
                return line

    def blocks(self) -> Iterator[Block]:
        while True:
            block = self._native.LineBlock(
                self._text, self._begin, self._end, self._ended, self._number, self._next_line
            )
            self._next_line += block.lines
            self.read += block.consumed - self._begin
            self._begin = block.consumed
            if block.rows:
                yield block
            if self._ended:
                return
            self._fill()


def _find_newline(text: np.ndarray) -> int:
    """Returns where the first newline is, -1 if nowhere, without copying a whole block."""
    for start in range(0, len(text), 1 << 16):
        at = text[start : start + (1 << 16)].tobytes().find(b"\n")
        if at >= 0:
            return start + at
    return -1
