"""RTPInputV2: lines of names and values, as feature generation wrote them first.

``clk^C1^Bitem^C7^Btag^Ca^Btag^Cb``: ``^B`` (\\002) separates pairs, ``^C`` (\\003) a name from its value. The
values of a name that occurs several times are joined by commas; a missing name is an empty cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdrec.data.csv_input import BLOCK_BYTES
from hvdrec.data.files import InputFile
from hvdrec.data.line_format import LineFormat
from hvdrec.data.rows import BadRow, FieldLike, Gathered, RowRefs, names_to_read

_BETWEEN, _WITHIN, _JOINED = "\002", "\003", b","


class RtpPairsFormat(LineFormat):
    """Rows of files with names and values.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: Names of all input fields.
        keep_raw: Also read all other declared fields, after those of `fields`.
        block_bytes: Bytes read at a time.

    Raises:
        ConfigError: A field isn't declared.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        fields: Sequence[FieldLike],
        declared: Sequence[str],
        *,
        keep_raw: bool = False,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self._names = names_to_read(fields, declared, keep_raw)
        # A line has one cell, because no line contains a newline.
        super().__init__(files, ["line"], b"\n", False, block_bytes)
        for number in range(len(files)):
            self.splitter.set_layout(number, [0], 1)

    def gather(self, rows: RowRefs) -> Gathered:
        """See `Format.gather`."""
        found = super().gather(rows)
        lines = found.columns.column(0)
        pairs = pc.split_pattern(lines, _BETWEEN)
        row, pair = pc.list_parent_indices(pairs).to_numpy(), pairs.flatten()
        # An empty pair, as after a separator at the end of a line, is none.
        some = pc.greater(pc.binary_length(pair), 0).to_numpy(zero_copy_only=False)
        row, pair = row[some], pair.filter(pa.array(some))
        parts = pc.split_pattern(pair, _WITHIN)
        whole = pc.equal(pc.list_value_length(parts), 2).to_numpy(zero_copy_only=False)
        bad = np.unique(row[~whole])
        row, parts = row[whole], parts.filter(pa.array(whole)).flatten()
        even = np.arange(0, len(parts), 2)
        names, values = parts.take(pa.array(even)), parts.take(pa.array(even + 1))
        columns = [self._column(name, row, names, values, len(lines)) for name in self._names]
        batch = pa.RecordBatch.from_arrays(columns, self._names)
        if not len(bad):
            return Gathered(batch, found.files, found.lines, found.bad)
        kept = np.setdiff1d(np.arange(len(lines)), bad)
        # Lines have one cell each, so none was left out before.
        wrong = [BadRow(int(at), self._wrong(found, int(at), lines)) for at in bad]
        return Gathered(batch.take(pa.array(kept)), found.files[kept], found.lines[kept], wrong)

    def _column(self, name: str, row: np.ndarray, names: pa.Array, values: pa.Array, rows: int) -> pa.Array:
        mine = pc.equal(names, pa.scalar(name.encode(), names.type)).to_numpy(zero_copy_only=False)
        offsets = np.searchsorted(row[mine], np.arange(rows + 1)).astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), values.filter(pa.array(mine)))
        return pc.binary_join(lists, pa.scalar(_JOINED, pa.binary()))

    def _wrong(self, found: Gathered, at: int, lines: pa.Array) -> str:
        for pair in lines[at].as_py().split(_BETWEEN.encode()):
            if pair and pair.count(_WITHIN.encode()) != 1:
                shown = pair[:40].decode(errors="replace")
                break
        return (
            f"{self.files[found.files[at]].name}, row {found.lines[at]}: {shown!r} is not a name and a value "
            "separated by \\003"
        )
