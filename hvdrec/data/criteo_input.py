"""CriteoInput: rows of the Criteo data, in sets of three binary files for labels, numbers and categories.

Row i is int32 i of the label's file, 13 float32 of the numbers' (fields ``f1`` to ``f13``) and 26 uint32 of
the categories' (``c1`` to ``c26``), all little-endian and without a header.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from hvdrec.data.arrow_rows import ArrowBlock, ArrowRows, Stretch
from hvdrec.data.files import InputFile, list_files
from hvdrec.data.rows import FieldLike
from hvdrec.data.share import ReadShare
from hvdrec.errors import ConfigError, DataError

_BLOCK_ROWS = 1 << 15
_NUMBERS, _CATEGORIES = 13, 26
#: The fields of a row: the part, and the index in it.
_FIELDS = {
    "label": ("label", 0),
    **{f"f{i + 1}": ("dense", i) for i in range(_NUMBERS)},
    **{f"c{i + 1}": ("category", i) for i in range(_CATEGORIES)},
}
#: The number of values per row in a part, their type in the file, and their type here.
_PARTS = {
    "label": (1, np.dtype("<i4"), pa.int64()),
    "dense": (_NUMBERS, np.dtype("<f4"), pa.float32()),
    "category": (_CATEGORIES, np.dtype("<u4"), pa.int64()),
}


@dataclasses.dataclass(frozen=True)
class CriteoFile:
    """Three files with the same rows, by part: label, dense, category."""

    parts: Mapping[str, InputFile]

    @property
    def name(self) -> str:
        """The name of the label file, for messages."""
        return self.parts["label"].name

    @property
    def rows(self) -> int:
        """The number of rows, from the size of the label file."""
        return self.parts["label"].size() // 4

    def size(self) -> int:
        """The size of the label file in bytes."""
        return self.parts["label"].size()

    def fingerprint(self) -> str:
        """A fingerprint of the content; empty if unknown."""
        found = [file.fingerprint() for file in self.parts.values()]
        return " ".join(found) if all(found) else ""


def criteo_files(paths: Any, what: str) -> list[CriteoFile]:
    """The files in a `BinaryDataInput`; files at the same index of the three lists belong together.

    Args:
        paths: The message: `label_path`, `dense_path` and `category_path` each with paths or globs.
        what: The setting they come from, for messages.

    Raises:
        DataError: A path matches no file, or the three parts don't match.
    """
    found = {part: list_files(getattr(paths, f"{part}_path"), f"{what}.{part}_path") for part in _PARTS}
    counts = {part: len(files) for part, files in found.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} of {part}_path" for part, count in counts.items())
        raise DataError(f"{what}: the paths name {told}; the numbers must be equal")
    files = [CriteoFile(dict(zip(_PARTS, parts, strict=True))) for parts in zip(*found.values(), strict=True)]
    for file in files:
        for part, (width, kind, _) in _PARTS.items():
            size, wanted = file.parts[part].size(), file.rows * width * kind.itemsize
            if size != wanted:
                raise DataError(
                    f"{file.parts[part].name}: has {size} bytes, but the {file.rows} "
                    f"rows of {file.name} need {wanted}"
                )
    return files


class CriteoFormat(ArrowRows):
    """Rows of Criteo's binary files.

    Args:
        files: The files, in listed order.
        fields: The requested columns, in the order of the result.
        declared: The `input_type` of declared fields by name.
        keep_raw: Also read all other columns, after those of `fields`.

    Raises:
        ConfigError: A field isn't one of Criteo's.
    """

    files: Sequence[CriteoFile]

    def __init__(
        self,
        files: Sequence[CriteoFile],
        fields: Sequence[FieldLike],
        declared: Mapping[str, str],
        *,
        keep_raw: bool = False,
    ) -> None:
        self.files = files
        self.declared = declared
        self._share = ReadShare(files)
        names = list(dict.fromkeys(field.name for field in fields))
        unknown = [name for name in names if name not in _FIELDS]
        if unknown:
            raise ConfigError(
                f"data_config.input_fields: CriteoInput has label, f1 to f{_NUMBERS} and c1 to "
                f"c{_CATEGORIES}, not {', '.join(unknown)}"
            )
        if keep_raw:
            names += [name for name in _FIELDS if name not in names]
        self.schema = pa.schema([(name, _PARTS[_FIELDS[name][0]][2]) for name in names])

    def blocks(self, files: list[int]) -> Iterator[ArrowBlock]:
        """See `Format.blocks`."""
        self._share.begin(files)
        for number in files:
            file = self.files[number]
            rows = file.rows
            stretch = Stretch(file, number, self._read(file, rows))
            for block in stretch.blocks(0, rows, _BLOCK_ROWS):
                self._share.within(block.end / rows)
                yield block
            self._share.end_file(number)

    @property
    def share_read(self) -> float:
        """See `Format.share_read`."""
        return self._share.value

    def _read(self, file: CriteoFile, rows: int) -> Iterator[pa.Table]:
        wanted = dict.fromkeys(_FIELDS[name][0] for name in self.schema.names)
        opened = {part: file.parts[part].open_random() for part in wanted}
        for first in range(0, rows, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, rows - first)
            numbers = {}
            for part, stream in opened.items():
                width, kind, _ = _PARTS[part]
                row = width * kind.itemsize
                with file.parts[part].errors():
                    read = stream.read_at(count * row, first * row)
                numbers[part] = np.frombuffer(read, kind).reshape(-1, width)
            columns = []
            for field in self.schema:
                part, place = _FIELDS[field.name]
                column = np.ascontiguousarray(numbers[part][:, place])
                if part == "category":
                    # EasyRec reads them as int32.
                    column = column.view(np.int32)
                columns.append(pa.array(column).cast(field.type))
            yield pa.Table.from_arrays(columns, schema=self.schema)
