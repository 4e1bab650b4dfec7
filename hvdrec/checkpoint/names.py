"""The entries of a checkpoint, by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Iterable

import tensorflow as tf

from hvdrec.layers.banks.dynamic import DynamicView, IdView, RowView
from hvdrec.layers.banks.split import SplitVariable
from hvdrec.layers.banks.strategy import Whole

GLOBAL_STEP = "global_step"

_FILE = re.compile(r"\.(index|meta|manifest\.json|committed|data-\d+-of-\d+)$")


@dataclasses.dataclass(frozen=True)
class SavedTensor:
    """A tensor as stored in a checkpoint.

    Attributes:
        name: EasyRec's variable name, as `input_layer/age_embedding/embedding_weights/Adam`.
        variable: The variable it lives in.
        rows: Its rows there, [first, last) (a table within a bank); None = the whole variable.
    """

    name: str
    variable: tf.Variable | Whole
    rows: tuple[int, int] | None

    @property
    def split(self) -> SplitVariable | None:
        """The variable if its rows are split over the ranks; None if every rank holds the same value."""
        return self.variable if isinstance(self.variable, SplitVariable) else None

    @property
    def dynamic(self) -> DynamicView | None:
        """The variable if it is a part of a table without a fixed size, so that any length fits."""
        return self.variable if isinstance(self.variable, IdView | RowView) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        whole = tuple(self.variable.shape)
        return whole if self.rows is None else (self.rows[1] - self.rows[0], *whole[1:])

    @property
    def dtype(self) -> tf.DType:
        """Its element type."""
        return self.variable.dtype


def replicated_variables(entries: Iterable[SavedTensor]) -> list[tf.Variable]:
    """The variables of which every rank holds the same value, each once.

    Of tables without a fixed size, they have the rows of all ids; `share_rows` gives other ranks the ids.
    """
    whole = (e.variable for e in entries if not e.split)
    found = (v.source if isinstance(v, DynamicView) else v for v in whole)
    return list({id(v): v for v in found if v is not None}.values())


def without_file_ending(path: str) -> str:
    """The prefix of a checkpoint, given as that or as the path of one of its files."""
    return _FILE.sub("", path)


def tensor_bytes(entries: Iterable[SavedTensor]) -> int:
    """What the tensors of a checkpoint take."""
    return sum(math.prod(entry.shape) * entry.dtype.size for entry in entries)


def nearest(name: str, names: Collection[str]) -> str:
    """`" (nearest: <name>)"` for the most similar of `names`, or "" if none is similar."""
    found = difflib.get_close_matches(name, names, n=1)
    return f" (nearest: {found[0]})" if found else ""


def listed(texts: Iterable[str], most: int = 5) -> str:
    """The first few of `texts` on one line, and the number of the rest."""
    texts = list(texts)
    rest = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + rest
