"""Files with a schema: their columns are found by name and have the types of `hvdrec.data.column_types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from hvdrec.data.arrow_rows import ArrowRows
from hvdrec.data.column_types import plain_schema
from hvdrec.data.files import InputFile
from hvdrec.data.rows import FieldLike
from hvdrec.data.share import ReadShare
from hvdrec.errors import DataError

#: Rows decoded at a time.
BLOCK_ROWS = 1 << 15


class ColumnarRows(ArrowRows):
    """Rows of such files; a format says how one is opened, and how it is decoded.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of declared fields by name.
        keep_raw: Also read all other columns, after those of `fields`.
        block_rows: Rows decoded at a time.

    Raises:
        DataError: The first file isn't of the format or lacks a column, or all are empty.
    """

    files: Sequence[InputFile]

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str] | None,
        keep_raw: bool,
        block_rows: int,
    ) -> None:
        self.files = files
        self.declared = declared or {}
        self._share = ReadShare(files)
        self._block_rows = block_rows
        self._names = list(dict.fromkeys(field.name for field in fields))
        opened = ((number, self._open(number)) for number in range(len(files)))
        number, first = next((pair for pair in opened if pair[1] is not None), (0, None))
        if first is None:
            raise DataError(f"{files[0].name}: has no bytes, and neither has any other file")
        schema = self._checked(number, first)
        if keep_raw:
            self._names += [name for name in schema.names if name not in self._names]
            self._checked(number, first)
        self.schema = plain_schema(schema, self._names, self.declared)

    def _open(self, number: int) -> Any:
        """Opens a file, by its number; None if it is empty and the format allows that."""
        raise NotImplementedError

    def _schema(self, file: Any) -> pa.Schema:
        """The columns of an open file."""
        raise NotImplementedError

    def _checked(self, number: int, file: Any) -> pa.Schema:
        """The columns of an open file, which has each requested one once."""
        with self.files[number].errors():
            schema = self._schema(file)
            names = schema.names
        for name in self._names:
            count = names.count(name)
            if count != 1:
                problem = f"{count} columns are" if count else "no column is"
                raise DataError(f"{self.files[number].name}: {problem} named {name}")
        return schema

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value
