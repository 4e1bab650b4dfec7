"""The tables of `hvdrec.ops.text.normalize`, from Unicode's character database."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources

import numpy as np

#: Above all characters that anything here replaces.
_SIZE = 0x323B0
_REMOVED = -1
#: Unicode's categories of letters, marks and numbers.
_KEPT = frozenset("LMN")


def replacements(
    *,
    upper: bool = False,
    lower: bool = False,
    narrow: bool = False,
    simplified: bool = False,
    filtered: bool = False,
    without_spaces: bool = False,
) -> np.ndarray:
    """What each code point becomes: int32 [N], -1 for nothing.

    Args:
        upper: Lower-case letters become upper-case ones.
        lower: Upper-case letters become lower-case ones.
        narrow: Full-width forms become ASCII, as does the ideographic space.
        simplified: Traditional Chinese characters become simplified ones.
        filtered: All but letters, marks, numbers and white space are removed.
        without_spaces: White space is removed.
    """
    table = np.arange(_SIZE, dtype=np.int32)
    if narrow:
        table[0xFF01:0xFF5F] = np.arange(0x21, 0x7F)
        table[0x3000] = 0x20
    if simplified:
        table = _composed(table, _simplified())
    if upper or lower:
        table = _composed(table, _cased(upper))
    if filtered:
        table = _composed(table, np.where(_kept(), np.arange(_SIZE), _REMOVED).astype(np.int32))
    if without_spaces:
        table = _composed(table, np.where(_white(), _REMOVED, np.arange(_SIZE)).astype(np.int32))
    return table


def _composed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(first < 0, _REMOVED, second[np.maximum(first, 0)]).astype(np.int32)


def _is_surrogate(point: int) -> bool:
    return 0xD800 <= point <= 0xDFFF


@functools.cache
def _cased(upper: bool) -> np.ndarray:
    """The one-to-one changes of case; a letter that becomes several stays."""
    table = np.arange(_SIZE, dtype=np.int32)
    for point in range(_SIZE):
        if not _is_surrogate(point):
            changed = chr(point).upper() if upper else chr(point).lower()
            if len(changed) == 1:
                table[point] = ord(changed)
    return table


@functools.cache
def _kept() -> np.ndarray:
    found = (unicodedata.category(chr(point))[0] in _KEPT for point in range(_SIZE))
    return np.fromiter(found, bool, _SIZE) | _white()


@functools.cache
def _white() -> np.ndarray:
    return np.fromiter((chr(point).isspace() for point in range(_SIZE)), bool, _SIZE)


@functools.cache
def _simplified() -> np.ndarray:
    table = np.arange(_SIZE, dtype=np.int32)
    text = resources.files(__package__).joinpath("traditional_chinese.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for traditional, simple in zip(*lines, strict=True):
        table[ord(traditional)] = ord(simple)
    return table
