"""HiveInput's tables in ORC files: columns with the files' types.

A file's footer has its number of rows, so rows are numbered without being decoded; stripes are decoded in
order, up to the last row that is requested.
They are decoded in a process of their own (`hvdrec.data.orc_file`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from hvdrec.data.arrow_rows import ArrowBlock, Stretch
from hvdrec.data.columnar import BLOCK_ROWS, ColumnarRows
from hvdrec.data.files import InputFile
from hvdrec.data.orc_file import OrcFile
from hvdrec.data.rows import FieldLike
from hvdrec.storage import retry

_MAGIC = b"ORC"


def are_orc(files: Sequence[InputFile]) -> bool:
    """Whether the first file that isn't empty begins as ORC files do.

    Raises:
        DataError: It can't be read.
    """
    begins = (_begin(file) for file in files)
    return next((found == _MAGIC for found in begins if found), False)


def _begin(file: InputFile) -> bytes:
    if file.compressed:
        return b"compressed"
    with file.errors():
        return retry(file.name, lambda: file.filesystem.open_input_stream(file.path).read(len(_MAGIC)))


class OrcFormat(ColumnarRows):
    """Rows of ORC files; see `ColumnarRows`.

    A file without bytes, which Hive writes for an empty bucket, has no rows.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str] | None = None,
        *,
        keep_raw: bool = False,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        super().__init__(files, fields, declared, keep_raw, block_rows)

    def _open(self, number: int) -> OrcFile | None:
        """Opens a file; None if it has no bytes."""
        file = self.files[number]

        def work() -> OrcFile | None:
            opened = file.open_random()
            return OrcFile(opened) if opened.size() else None

        with file.errors():
            return retry(file.name, work)

    def _schema(self, file: OrcFile) -> pa.Schema:
        return file.schema

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            file = self._open(number)
            if file is None:
                self._share.end_file(number)
                continue
            self._checked(number, file)
            rows = file.nrows
            stretch = Stretch(self.files[number], number, self._stripes(number, file))
            for block in stretch.blocks(0, rows, self._block_rows):
                self._share.within(block.end / rows)
                yield block
            self._share.end_file(number)

    def _stripes(self, number: int, file: OrcFile) -> Iterator[pa.Table]:
        with self.files[number].errors():
            for stripe in range(file.nstripes):
                yield self.conform(self._read(number, file, stripe))

    def _read(self, number: int, file: OrcFile, stripe: int) -> pa.RecordBatch:
        """Reads a stripe; a store's file is opened again if that fails."""
        opened = [file]

        def read() -> pa.RecordBatch:
            found = opened.pop() if opened else self._open(number)
            if found is None:
                raise OSError("the file has become empty")
            return found.read_stripe(stripe, columns=self._names)

        return retry(self.files[number].name, read) if self.files[number].remote else read()
