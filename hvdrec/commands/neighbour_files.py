"""Files of users' nearest items: this project's format, and those of EasyRec's tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hvdrec.commands.output_files import completed
from hvdrec.metrics.retrieval import Nearest


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Some users and their nearest items.

    Attributes:
        users: Their ids.
        chosen: The indices of the items that each chose; below 0 for items outside the search.
        nearest: The items that were found.
    """

    users: Sequence[str]
    chosen: Sequence[set[int]]
    nearest: Nearest


#: The ids and products that were found for a user, and the indices of the same items.
_Format = Callable[[str, set[int], np.ndarray, list[str], list[str]], Iterator[str]]


def write_neighbours(path: str, form: str, items: Sequence[str], blocks: Iterable[Neighbours]) -> None:
    """Writes a file, which appears only when it is complete.

    Args:
        path: The file, local or in a store.
        form: A name in `FORMATS`.
        items: The ids of the items.
        blocks: The users, in the order of the lines.

    Raises:
        UserError: The file can't be written.
        StorageError: The store refused the file.
    """
    with (
        completed(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for block in blocks:
            file.writelines(_lines(block, items, FORMATS[form]))


def _lines(block: Neighbours, items: Sequence[str], form: _Format) -> Iterator[str]:
    for user, chosen, row, values in zip(block.users, block.chosen, *block.nearest, strict=True):
        found = row >= 0
        places = row[found]
        ids = [items[place] for place in places]
        products = [f"{value:.6g}" for value in values[found]]
        for line in form(user, chosen, places, ids, products):
            yield line + "\n"


def _ours(
    user: str, chosen: set[int], places: np.ndarray, ids: list[str], products: list[str]
) -> Iterator[str]:
    """A user, a tab, and the nearest items with their products: ``item:product,item:product``."""
    del chosen, places
    yield f"{user}\t{','.join(map(':'.join, zip(ids, products, strict=True)))}"


def _vector_retrieve(
    user: str, chosen: set[int], places: np.ndarray, ids: list[str], products: list[str]
) -> Iterator[str]:
    """A line for each pair: user, item, product."""
    del chosen, places
    yield from ("\t".join((user, *pair)) for pair in zip(ids, products, strict=True))


def _hit_rate(
    user: str, chosen: set[int], places: np.ndarray, ids: list[str], products: list[str]
) -> Iterator[str]:
    """User, items, products, share of the chosen items that are among them, other items, their products."""
    missed = [i for i, place in enumerate(places) if place not in chosen]
    share = (len(places) - len(missed)) / len(chosen)
    others = ",".join(ids[i] for i in missed), ",".join(products[i] for i in missed)
    yield "\t".join((user, ",".join(ids), ",".join(products), f"{share:.6g}", *others))


FORMATS: dict[str, _Format] = {
    "pairs": _ours,
    "vector_retrieve": _vector_retrieve,
    "hit_rate": _hit_rate,
}
