"""HiveInput's tables in ORC files: columns with the files' types.

A file's footer has its number of rows, so rows are numbered without being decoded; stripes are decoded in
order, up to the last row that is requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from pyarrow import orc

from hvdrec.data.arrow_rows import ArrowBlock, ArrowRows, Stretch
from hvdrec.data.column_types import plain_schema
from hvdrec.data.files import InputFile
from hvdrec.data.rows import FieldLike
from hvdrec.data.share import ReadShare
from hvdrec.errors import DataError
from hvdrec.storage import retry

_BLOCK_ROWS = 1 << 15
_MAGIC = b"ORC"


def is_orc(file: InputFile) -> bool:
    """Whether a file begins as ORC files do.

    Raises:
        DataError: It can't be read.
    """
    if file.compressed:
        return False
    with file.errors():
        return (
            retry(file.name, lambda: file.filesystem.open_input_stream(file.path).read(len(_MAGIC))) == _MAGIC
        )


class OrcFormat(ArrowRows):
    """Rows of ORC files.

    Columns are found by name and have the types of `hvdrec.data.column_types`, as in `ParquetFormat`.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of declared fields by name.
        keep_raw: Also read all other columns, after those of `fields`.
        block_rows: Rows converted to columns at a time.

    Raises:
        DataError: The first file isn't an ORC file or lacks a column.
    """

    files: Sequence[InputFile]

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str] | None = None,
        *,
        keep_raw: bool = False,
        block_rows: int = _BLOCK_ROWS,
    ) -> None:
        self.files = files
        self.declared = declared or {}
        self._share = ReadShare(files)
        self._block_rows = block_rows
        self._names = list(dict.fromkeys(field.name for field in fields))
        schema = self._schema(0, self._open(0))
        self._check(0, schema)
        if keep_raw:
            self._names += [name for name in schema.names if name not in self._names]
            self._check(0, schema)
        self.schema = plain_schema(schema, self._names, self.declared)

    def _open(self, number: int) -> orc.ORCFile:
        file = self.files[number]
        with file.errors():
            return retry(file.name, lambda: orc.ORCFile(file.open_random()))

    def _schema(self, number: int, file: orc.ORCFile) -> pa.Schema:
        with self.files[number].errors():
            return file.schema

    def _check(self, number: int, schema: pa.Schema) -> None:
        with self.files[number].errors():
            names = schema.names
        for name in self._names:
            count = names.count(name)
            if count != 1:
                problem = f"{count} columns are" if count else "no column is"
                raise DataError(f"{self.files[number].name}: {problem} named {name}")

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            file = self._open(number)
            self._check(number, self._schema(number, file))
            rows = file.nrows
            stretch = Stretch(self.files[number], number, self._stripes(number, file))
            for block in stretch.blocks(0, rows, self._block_rows):
                self._share.within(block.end / rows)
                yield block
            self._share.end_file(number)

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value

    def _stripes(self, number: int, file: orc.ORCFile) -> Iterator[pa.Table]:
        with self.files[number].errors():
            for stripe in range(file.nstripes):
                yield self.conform(self._read(number, file, stripe))

    def _read(self, number: int, file: orc.ORCFile, stripe: int) -> pa.RecordBatch:
        """Reads a stripe; a store's file is opened again if that fails."""
        opened = [file]

        def read() -> pa.RecordBatch:
            found = opened.pop() if opened else self._open(number)
            return found.read_stripe(stripe, columns=self._names)

        return retry(self.files[number].name, read) if self.files[number].remote else read()
