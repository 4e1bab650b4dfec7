"""RTPInput: lines with labels and one cell with all features, as written by feature generation.

In ``clk;id;...;f1^Bf2a^Cf2b^B...`` `rtp_separator` separates the columns of a line, and `separator` the
features in the last column that `selected_cols` names. Each feature defines the separator of its values.
"""

from __future__ import annotations

from collections.abc import Sequence

from hvdrec.data.csv_input import BLOCK_BYTES
from hvdrec.data.files import InputFile
from hvdrec.data.line_format import LineFormat
from hvdrec.data.rows import FieldLike, names_to_read
from hvdrec.data.text_reader import TextReader
from hvdrec.errors import ConfigError, DataError


class RtpFormat(LineFormat):
    """Rows of RTP files.

    The features are the declared fields that aren't labels, in their order. A file's first row determines the
    number of columns of its rows.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: Names of all input fields, in order.
        labels: `label_fields`, which `selected_cols` names first, in their order.
        selected: Column numbers, from 0: one per label, then one for the features.
        rtp_separator: The separator of columns.
        separator: The separator of features.
        keep_raw: Also read all other declared fields, after those of `fields`.
        block_bytes: Bytes read at a time.

    Raises:
        ConfigError: A field isn't declared, or `selected` doesn't fit the labels.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Sequence[str],
        *,
        labels: Sequence[str],
        selected: Sequence[int],
        rtp_separator: str,
        separator: str,
        keep_raw: bool = False,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        if len(selected) != len(labels) + 1:
            raise ConfigError(
                f"data_config.selected_cols: names {len(selected)} columns; RTPInput needs one for each of "
                f"the {len(labels)} label_fields and one for the features"
            )
        names = names_to_read(fields, declared, keep_raw)
        features = [name for name in declared if name not in labels]
        self._features = separator.encode()
        self._selected = list(selected)
        self._columns = [selected[labels.index(name)] if name in labels else -1 for name in names]
        self._parts = [-1 if name in labels else features.index(name) for name in names]
        self._count = len(features)
        super().__init__(files, names, rtp_separator.encode(), False, block_bytes)

    def begin_file(self, number: int, reader: TextReader) -> bool:
        """Counts the columns of a file's first row."""
        line = reader.peek()
        if line is None:
            return False
        width = len(line.split(self._separator))
        if width <= max(self._selected):
            raise DataError(
                f"{self.files[number].name}, row 1: found {width} columns separated "
                f"by {self._separator.decode()!r}, "
                f"but data_config.selected_cols names column {max(self._selected)} "
                "(the first is 0); check rtp_separator"
            )
        self.splitter.set_nested_layout(
            number, self._columns, width, self._selected[-1], self._features, self._parts, self._count
        )
        return True

    def problem(self, columns: int, file: int, nested: bool) -> str:
        """Describes the problem with a row."""
        if not nested:
            return f"found {columns} columns, but the file's first row has {self.splitter.width(file)}"
        text = f"found {columns} features, expected {self._count}"
        if columns == 1:
            text += f"; check data_config.separator, which is {self._features.decode()!r}"
        return text
