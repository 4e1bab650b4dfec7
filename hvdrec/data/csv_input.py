"""CSVInput: delimited text, plain or compressed.

Every rank scans all bytes to find the lines (at memchr's speed) and splits only its own rows. Cells are raw
bytes; the packer interprets them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.config.names import hint
from hvdrec.data.files import InputFile
from hvdrec.data.line_format import LineFormat
from hvdrec.data.rows import FieldLike, Gathered, RowRefs, need_declared, need_selected
from hvdrec.data.text_reader import TextReader
from hvdrec.errors import ConfigError, DataError
from hvdrec.ops.native import load_native

#: The number of bytes read at a time from a text file.
BLOCK_BYTES = 8 << 20


class CsvFormat(LineFormat):
    """Rows of delimited text files.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: Names of all columns of a file without a header, in order.
        separator: One or more characters between cells.
        with_header: Whether the first line of each file has the column names; order and number may differ
            between files.
        quoting: Whether a cell that begins with ``"`` extends to its closing quote (RFC 4180, without
            newlines).
        null: A cell that means a missing value, as an empty one does; None for none.
        selected: With a header: the only columns that may be read; empty for all.
        keep_raw: Also read all other columns, after those of `fields`.
        block_bytes: Bytes read at a time.

    Raises:
        ConfigError: A field isn't declared, or the separator is invalid.
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
        null: bytes | None = None,
        selected: Sequence[str] = (),
        keep_raw: bool = False,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if not separator or any(c in separator for c in '\r\n"'):
            raise ConfigError(f'data_config.separator: {separator!r} is empty or contains a newline or a "')
        self._native = load_native()
        self._quoting = quoting
        self._null = null
        self._with_header = with_header
        self._selected = tuple(selected) if with_header else ()
        self._declared = list(declared)
        self._names = list(dict.fromkeys(field.name for field in fields))
        self._check_names()
        if keep_raw:
            everything = self._first_header(files, separator, block_bytes) if with_header else self._declared
            if self._selected:
                everything = [name for name in everything if name in self._selected]
            self._names += [name for name in everything if name not in self._names]
        super().__init__(files, self._names, separator.encode(), quoting, block_bytes)
        if not with_header:
            columns = [self._declared.index(name) for name in self._names]
            for number in range(len(files)):
                self.splitter.set_layout(number, columns, len(self._declared))

    def _check_names(self) -> None:
        if self._with_header:
            need_selected(self._names, self._selected)
        else:
            need_declared(self._names, self._declared)

    def _first_header(self, files: Sequence[InputFile], separator: str, block_bytes: int) -> list[str]:
        for number, file in enumerate(files):
            reader = TextReader(self._native, file, number, block_bytes)
            try:
                line = reader.header()
            finally:
                reader.close()
            if line is not None:
                return self._header_names(file, separator.encode(), line)
        return []

    def _header_names(self, file: InputFile, separator: bytes, line: bytes) -> list[str]:
        cells = self._native.LineSplitter(separator, self._quoting, 0).cells(line)
        if cells is None:
            raise DataError(f"{file.name}, row 1: a quote in the header is not closed")
        try:
            return [cell.decode().strip() for cell in cells]
        except UnicodeDecodeError as error:
            raise DataError(f"{file.name}, row 1: the header is not UTF-8 text") from error

    def _lay_out(self, number: int, line: bytes) -> None:
        """Finds the requested columns in a file's header."""
        file = self.files[number]
        names = self._header_names(file, self._separator, line)
        columns = []
        for name in self._names:
            count = names.count(name)
            if count != 1:
                problem = f"{count} columns are" if count else "no column is"
                near = "" if count else f"; {hint(name, names)}"
                raise DataError(f"{file.name}, row 1: {problem} named {name} in the header{near}")
            columns.append(names.index(name))
        self.splitter.set_layout(number, columns, len(names))

    def gather(self, rows: RowRefs) -> Gathered:
        """See `Format.gather`."""
        found = super().gather(rows)
        if self._null is None:
            return found
        columns = [_without(column, self._null) for column in found.columns.columns]
        return dataclasses.replace(
            found, columns=pa.RecordBatch.from_arrays(columns, found.columns.schema.names)
        )

    def begin_file(self, number: int, reader: TextReader) -> bool:
        """Reads a file's header, if it has one."""
        if not self._with_header:
            return True
        header = reader.header()
        if header is None:
            return False
        self._lay_out(number, header)
        return True


def _without(column: pa.Array, null: bytes) -> pa.Array:
    """A column in which cells equal to `null` are empty."""
    found = pc.equal(column, pa.scalar(null, column.type))
    return pc.if_else(found, pa.scalar(b"", column.type), column) if pc.any(found).as_py() else column
