"""Draws the negative samples of a batch.

A draw is a function of `train_config.seed`, the batch's position in the input, the rank and the batch's ids.
It is therefore the same for any number of threads and after a resume, and different on every rank.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import logging
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from hvdrec.config.samplers import sampler_config, samples
from hvdrec.data.batch import InputPosition
from hvdrec.data.negatives.items import ItemTable, read_items
from hvdrec.data.negatives.tables import (
    check_users,
    read_edges,
    whole_numbers,
)
from hvdrec.errors import DataError
from hvdrec.ops.native import load_native

_log = logging.getLogger(__name__)

#: Items that are compared at a time.
_PART = 1 << 20


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The items drawn for a batch.

    Attributes:
        places: int32 [S], indices in the item table.
        owners: int32 [S], the row that an item is a negative of; -1 means all rows. Items of single rows come
            last.
    """

    places: np.ndarray
    owners: np.ndarray

    @classmethod
    def shared(cls, places: np.ndarray) -> Drawn:
        """Negatives of all rows."""
        return cls(places, np.full(len(places), -1, np.int32))


@dataclasses.dataclass(frozen=True)
class Stream:
    """The source of random numbers.

    Attributes:
        seed: `train_config.seed`.
        rank: This rank.
        training: Whether the batches are for training.
    """

    seed: int
    rank: int
    training: bool

    def at(self, position: InputPosition) -> int:
        """The seed of the batch that ends at a position of the input."""
        place = (self.seed, self.rank, int(self.training), position.epoch, position.row)
        digest = hashlib.blake2b(struct.pack("<5q", *place), digest_size=8).digest()
        return int.from_bytes(digest, "little")


class Sampler(abc.ABC):
    """Draws items of a table.

    Attributes:
        table: The items.
    """

    def __init__(self, table: ItemTable, item_field: str, count: int, stream: Stream) -> None:
        """Takes the parameters shared by all samplers.

        Args:
            table: The items.
            item_field: The column with the ids of the batch's items.
            count: The number of items drawn for a batch.
            stream: The source of random numbers.
        """
        self.table = table
        self._item_field = item_field
        self._count = count
        self._stream = stream

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The columns of a batch whose cells must be whole numbers."""
        return (self._item_field,)

    @abc.abstractmethod
    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        """Draws for a batch.

        Args:
            rows: The batch's columns.
            position: The input position at the end of the batch.
            locate: Maps a row to its location, for messages.

        Raises:
            DataError: An id of a row can't be used.
        """

    def _items(self, rows: pa.RecordBatch, locate: Callable[[int], str]) -> np.ndarray:
        return whole_numbers(rows.column(self._item_field), self._item_field, locate)


class ByWeight(Sampler):
    """`negative_sampler`: draws by weight with replacement, excluding the batch's items."""

    def __init__(self, table: ItemTable, item_field: str, count: int, stream: Stream) -> None:
        """See `Sampler`."""
        super().__init__(table, item_field, count, stream)
        self._native: Any = table.sampler(weighted=True)

    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        """See `Sampler.draw`."""
        seed = self._stream.at(position)
        return Drawn.shared(self._native.by_weight(self._items(rows, locate), seed, self._count))


class InMemory(Sampler):
    """`negative_sampler_in_memory`: draws distinct items uniformly, excluding the batch's items.

    Like EasyRec, draws `count` + `margin` distinct items and uses the first `count` that aren't in the batch.
    """

    def __init__(self, table: ItemTable, item_field: str, count: int, stream: Stream, margin: int) -> None:
        """See `Sampler`.

        Raises:
            DataError: The table has too few items.
        """
        super().__init__(table, item_field, count, stream)
        self._margin = margin
        self._native: Any = table.sampler(weighted=False)
        if len(table.ids) < count + margin:
            raise DataError(
                f"data_config.negative_sampler_in_memory: the item table has {len(table.ids)} items, fewer "
                f"than num_sample + batch_size, {count + margin}"
            )

    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        """See `Sampler.draw`."""
        seed = self._stream.at(position)
        # A block may be larger than the config's batch, for example in a resumed run on fewer ranks.
        margin = min(max(self._margin, rows.num_rows), len(self.table.ids) - self._count)
        return Drawn.shared(self._native.distinct(self._items(rows, locate), seed, self._count, margin))


class ForUsers(Sampler):
    """`negative_sampler_v2`: draws by weight, excluding items that the row's user has an edge to."""

    def __init__(
        self, table: ItemTable, fields: tuple[str, str], count: int, stream: Stream, edges: Any
    ) -> None:
        """See `Sampler`.

        Args:
            table: The items.
            fields: The columns of items and of users.
            count: The number of items drawn for a batch and distributed to its rows.
            stream: The source of random numbers.
            edges: `UserItems` of positive edges.
        """
        super().__init__(table, fields[0], count, stream)
        self._user_field = fields[1]
        self._edges = edges
        self._native: Any = table.sampler(weighted=True)

    @property
    def id_fields(self) -> tuple[str, ...]:
        """See `Sampler.id_fields`."""
        return (self._user_field,)

    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        """See `Sampler.draw`."""
        users = whole_numbers(rows.column(self._user_field), self._user_field, locate)
        count = self._count if len(users) else 0
        return Drawn.shared(self._native.for_users(self._edges, users, self._stream.at(position), count))


class WithHard(Sampler):
    """`hard_negative_sampler` and `_v2`: negatives of all rows, followed by those of single rows."""

    def __init__(self, shared: Sampler, user_field: str, most: int, edges: Any) -> None:
        """Combines the parts.

        Args:
            shared: Draws the negatives of all rows.
            user_field: The column of users.
            most: The maximum number of hard negatives per row.
            edges: `UserItems` with items as indices in the table.
        """
        super().__init__(shared.table, shared._item_field, shared._count, shared._stream)
        self._shared = shared
        self._user_field = user_field
        self._most = most
        self._edges = edges

    @property
    def id_fields(self) -> tuple[str, ...]:
        """See `Sampler.id_fields`."""
        return (*self._shared.id_fields, self._user_field)

    def draw(self, rows: pa.RecordBatch, position: InputPosition, locate: Callable[[int], str]) -> Drawn:
        """See `Sampler.draw`."""
        shared = self._shared.draw(rows, position, locate)
        users = whole_numbers(rows.column(self._user_field), self._user_field, locate)
        places, owners = self._edges.of(users, self._most)
        return Drawn(
            np.concatenate([shared.places, places.astype(np.int32)]), np.concatenate([shared.owners, owners])
        )


def open_sampler(proto: Any, training: bool, rank: int) -> Sampler | None:
    """Reads the tables of a config's negative sampler.

    Args:
        proto: An EasyRecConfig.
        training: Whether to use `num_sample` or `num_eval_sample`.
        rank: This rank.

    Returns:
        The sampler; None if the config has none.

    Raises:
        DataError: A table can't be used.
    """
    config = sampler_config(proto)
    if config is None:
        return None
    name = proto.data_config.WhichOneof("sampler")
    what = f"data_config.{name}"
    path = "input_path" if "input_path" in config.DESCRIPTOR.fields_by_name else "item_input_path"
    table = _items(getattr(config, path), f"{what}.{path}", tuple(config.attr_fields), config.attr_delimiter)
    count = samples(proto, training)
    stream = Stream(int(proto.train_config.seed), rank, training)
    if name == "negative_sampler":
        return ByWeight(table, config.item_id_field, count, stream)
    if name == "negative_sampler_in_memory":
        return InMemory(table, config.item_id_field, count, stream, int(proto.data_config.batch_size))
    check_users(config.user_input_path, f"{what}.user_input_path")
    shared: Sampler
    if name.endswith("_v2"):
        edges = read_edges(config.pos_edge_input_path, f"{what}.pos_edge_input_path")
        kept = load_native().UserItems(edges.users, edges.items)
        shared = ForUsers(table, (config.item_id_field, config.user_id_field), count, stream, kept)
    else:
        shared = ByWeight(table, config.item_id_field, count, stream)
    if not name.startswith("hard"):
        return shared
    path = f"{what}.hard_neg_edge_input_path"
    hard = _hard_edges(config.hard_neg_edge_input_path, path, table)
    return WithHard(shared, config.user_id_field, int(config.num_hard_sample), hard)


@functools.lru_cache(maxsize=1)
def _items(path: str, what: str, fields: tuple[str, ...], delimiter: str) -> ItemTable:
    """The item table, shared by training and evaluation in a process."""
    table = read_items(path, what, fields, delimiter)
    if not (table.weights > 0).any():
        raise DataError(f"{what}: no item of {path} has a weight above 0")
    _log.info(
        "%s: %d items, %d MiB in %s, which the processes of this machine share",
        *(what, len(table.ids), table.nbytes >> 20, table.folder.path),
    )
    return table


def _hard_edges(path: str, what: str, table: ItemTable) -> Any:
    """Hard edges from users to indices in the item table; edges to unknown items are dropped."""
    edges = read_edges(path, what)
    found = _places_of(edges.items, table.ids)
    known = found >= 0
    if not known.all():
        first = int(edges.items[int(np.argmin(known))])
        _log.warning(
            "%s: %d of %d edges lead to items that are not in the item table, such as %d; they are ignored",
            *(what, np.count_nonzero(~known), len(known), first),
        )
    return load_native().UserItems(edges.users[known], found[known].astype(np.int64))


def _places_of(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The first index of each wanted id, -1 for unknown ones: int64 [wanted]."""
    distinct, inverse = np.unique(wanted, return_inverse=True)
    places = np.full(len(distinct), -1, np.int64)
    for start in range(0, len(ids), _PART) if len(distinct) else ():
        part = ids[start : start + _PART]
        at = np.minimum(np.searchsorted(distinct, part), len(distinct) - 1)
        rows = np.flatnonzero(distinct[at] == part)[::-1]
        # Written from the last to the first, so that the first remains; and earlier parts are kept.
        fresh = np.full(len(distinct), -1, np.int64)
        fresh[at[rows]] = start + rows
        places = np.where(places < 0, fresh, places)
    return places[inverse]
