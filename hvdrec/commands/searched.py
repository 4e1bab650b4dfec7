"""The items that `hvdrec.retrieve` searches, and the users that it searches for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from hvdrec.commands.finite import need_finite
from hvdrec.config.samplers import sampler_config
from hvdrec.data import open_source
from hvdrec.data.batch import PackedBatch, RowBlock
from hvdrec.data.column_types import exact_text
from hvdrec.data.loader import Loader
from hvdrec.data.negatives.items import ItemTable
from hvdrec.data.negatives.items import read_items as read_item_table
from hvdrec.errors import DataError
from hvdrec.features import Packer
from hvdrec.features.build import tower_plan
from hvdrec.features.plan import FeaturePlan, Field
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.same_files import need_same_files
from hvdrec.trainer.run.turns import Turns
from hvdrec.trainer.step.dynamic_rows import DynamicRows
from hvdrec.trainer.step.feed import Feed, FeedCall, call_spec

#: Rows that ranks exchange at a time.
_EXCHANGED_ROWS = 1 << 20


@dataclasses.dataclass(frozen=True)
class Towers:
    """What a search is made with.

    Attributes:
        proto: The config of a matching model.
        recommender: The model, with its weights on every rank.
        group: The ranks.
        flags: See `hvdrec.config.flags.retrieve.RetrieveFlags`.
    """

    proto: Any
    recommender: Recommender
    group: ReplicaGroup
    flags: Any


class _Tower:
    """One tower of the model, applied to packed rows."""

    def __init__(self, towers: Towers, side: str) -> None:
        self.plan = tower_plan(towers.proto, side)
        self._what = f"the vector of its {side}"
        recommender = towers.recommender
        self._feed = Feed(self.plan, DynamicRows(recommender.strategy))
        vectors = "item_tower_emb" if side == "item" else "user_tower_emb"

        def embed(call: FeedCall) -> tf.Tensor:
            batch = self._feed.unpack(call, tf.constant(0))
            outputs = recommender.tower(side, self.plan, batch)
            if vectors in outputs:
                return outputs[vectors]
            # Missing interests of a user are replaced by the first one, not by a vector of zeros.
            interests, counts = outputs["user_interests"], outputs["user_emb_num"]
            inside = tf.sequence_mask(counts, tf.shape(interests)[1])[:, :, tf.newaxis]
            return tf.where(inside, interests, interests[:, :1])

        compiled = tf.function(embed, input_signature=[call_spec(self._feed.specs)], autograph=False)

        def run(batch: PackedBatch) -> np.ndarray:
            return compiled(self._feed.stack([batch])).numpy()

        meets = recommender.strategy.meets
        self._turns = Turns(towers.group if meets else None, run, self._feed.empty)

    def __call__(self, batch: PackedBatch) -> np.ndarray:
        """The vectors, float32 [B, D], of users with interests [B, K, D].

        Raises:
            TrainingError: A vector isn't finite, so it has no nearest ones.
        """
        vectors = self._turns.take(batch)
        need_finite(vectors, self._what, batch.locate)
        return vectors

    def nothing(self) -> np.ndarray:
        """The vectors of no rows."""
        return self._turns.take(self._feed.empty())

    def end(self) -> None:
        """Takes part in the other ranks' calls until they are finished (collective)."""
        self._turns.end()


@dataclasses.dataclass(frozen=True)
class Items:
    """The items to search.

    Attributes:
        ids: Unique ids, as text.
        vectors: float32 [I, D].
        place: The index of each item, by id.
    """

    ids: list[str]
    vectors: np.ndarray
    place: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Users:
    """Users to search for.

    Attributes:
        ids: Ids as text; the row number if each row is a user.
        vectors: float32 [U, D] or [U, K, D].
        chosen: The indices of the items that each user chose; below 0 for items outside the search.
        excluded: The indices of the items that aren't to be found, by user.
    """

    ids: list[str]
    vectors: np.ndarray
    chosen: list[set[int]]
    excluded: list[list[int]]

    def part(self, first: int, last: int) -> Users:
        """The users from index `first` to before `last`."""
        own = slice(first, last)
        return Users(self.ids[own], self.vectors[own], self.chosen[own], self.excluded[own])


def read_items(towers: Towers) -> Items:
    """Embeds the items of `--item_input_path`, else of the sampler's table (collective).

    Raises:
        DataError: An item can't be used, or there are none.
    """
    tower = _Tower(towers, "item")
    work = _items_of_rows if towers.flags.item_input_path else _items_of_table
    ids, numbers, vectors = run_on_all_ranks(towers.group, lambda: _ended(tower, lambda: work(towers, tower)))
    ids, vectors = _of_all_ranks(towers.group, ids, numbers, vectors)
    if not ids:
        raise DataError(f"--item_input_path: {towers.flags.item_input_path} has no rows")
    return Items(ids, vectors, {id_: place for place, id_ in enumerate(ids)})


_Rows = tuple[list[str], list[int], np.ndarray]


def _ended(tower: _Tower, work: Callable[[], _Rows]) -> _Rows:
    try:
        return work()
    finally:
        tower.end()


def _items_of_table(towers: Towers, tower: _Tower) -> _Rows:
    sampler = sampler_config(towers.proto)
    assert sampler is not None
    path = sampler.input_path if hasattr(sampler, "input_path") else sampler.item_input_path
    table = read_item_table(
        path, "the sampler's item table", list(sampler.attr_fields), sampler.attr_delimiter
    )
    _, first = np.unique(table.ids, return_index=True)
    own = np.array_split(np.sort(first).astype(np.int32), towers.group.size)[towers.group.rank]
    packer = Packer(tower.plan)
    names = [field.name for field in tower.plan.fields]
    vectors = [tower.nothing()]
    for start in range(0, len(own), towers.flags.batch_size):
        places = own[start : start + towers.flags.batch_size]
        locate = _item_places(table, places)
        rows, arrays = packer.pack(table.columns(places).select(names), locate)
        vectors.append(tower(PackedBatch(rows, arrays, locate=locate)))
    return [str(id_) for id_ in table.ids[own]], own.tolist(), np.concatenate(vectors)


def _items_of_rows(towers: Towers, tower: _Tower) -> _Rows:
    """The items of this rank's rows, each from its first row."""
    ids: list[str] = []
    numbers: list[int] = []
    known: set[str] = set()
    vectors = [tower.nothing()]
    flags = towers.flags
    wanted = _Wanted(flags.item_input_path, "--item_input_path", (flags.item_id_field,))
    for batch, first, columns in _batches(towers, tower.plan, wanted):
        fresh = []
        for i, id_ in enumerate(_text(columns[0])):
            if id_ not in known:
                known.add(id_)
                ids.append(id_)
                numbers.append(first + i)
                fresh.append(i)
        vectors.append(tower(batch)[fresh])
    return ids, numbers, np.concatenate(vectors)


def _of_all_ranks(
    group: ReplicaGroup, ids: list[str], numbers: list[int], vectors: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The rows of all ranks in order of their numbers, each id from its first row (collective)."""
    if group.size == 1:
        return ids, vectors
    every_id = [id_ for part in group.gather_objects(ids) for id_ in part]
    every_number = np.concatenate([np.array(n, np.int64) for n in group.gather_objects(numbers)])
    every_vector = _gathered(group, vectors)
    kept, known = [], set[str]()
    for place in np.argsort(every_number, kind="stable").tolist():
        if every_id[place] not in known:
            known.add(every_id[place])
            kept.append(place)
    return [every_id[place] for place in kept], every_vector[kept]


def _gathered(group: ReplicaGroup, rows: np.ndarray) -> np.ndarray:
    """The rows of all ranks in rank order, exchanged in pieces (collective)."""
    pieces = max(group.gather_objects(-(-len(rows) // _EXCHANGED_ROWS)))
    parts: list[list[np.ndarray]] = [[rows[:0]] for _ in range(group.size)]
    for piece in range(pieces):
        own = rows[piece * _EXCHANGED_ROWS : (piece + 1) * _EXCHANGED_ROWS]
        for part, found in zip(parts, group.gather_objects(own), strict=True):
            part.append(found)
    return np.concatenate([found for part in parts for found in part])


@dataclasses.dataclass
class _User:
    """A user as found in rows.

    Attributes:
        number: The first row.
        chosen: The ids of the chosen items.
        excluded: The ids of the first row's items that aren't to be found.
    """

    number: int
    chosen: set[str]
    excluded: list[str]


def read_users(towers: Towers, place: dict[str, int]) -> Users:
    """Embeds the users of `--input_path` with a label above 0 (collective).

    With `--user_id_field`, a repeated user has the first row's features and all rows' items. Each rank
    receives a part of the users.

    Args:
        towers: The model and the flags.
        place: The index of each item.

    Raises:
        DataError: A row can't be used, or no row has a label above 0.
    """
    group = towers.group
    tower = _Tower(towers, "user")
    found: dict[str, _User] = {}

    def work() -> _Rows:
        vectors = _users_of_rows(towers, tower, found)
        return list(found), [user.number for user in found.values()], vectors

    ids, _, vectors = run_on_all_ranks(group, lambda: _ended(tower, work))
    if towers.flags.user_id_field and group.size > 1:
        ids, vectors = _own_users(group, ids, vectors, found)
    if not sum(group.gather_objects(len(ids))):
        raise DataError(f"--input_path: {towers.flags.input_path} has no row with a label above 0")
    chosen, excluded = [], []
    for id_ in ids:
        user = found[id_]
        # Different items outside the search have different numbers.
        chosen.append({place.get(item, -1 - i) for i, item in enumerate(sorted(user.chosen))})
        excluded.append([place[item] for item in dict.fromkeys(user.excluded) if item in place])
    return Users(ids, vectors, chosen, excluded)


def _own_users(
    group: ReplicaGroup, ids: list[str], vectors: np.ndarray, found: dict[str, _User]
) -> tuple[list[str], np.ndarray]:
    """Joins the users of all ranks, and returns this rank's part of them (collective)."""
    numbers = [found[id_].number for id_ in ids]
    ids, vectors = _of_all_ranks(group, ids, numbers, vectors)
    for other in group.gather_objects(found):
        for id_, user in other.items():
            known = found.setdefault(id_, user)
            known.chosen |= user.chosen
            if user.number < known.number:
                known.number, known.excluded = user.number, user.excluded
    own = np.array_split(np.arange(len(ids)), group.size)[group.rank]
    return [ids[i] for i in own], vectors[own]


def _users_of_rows(towers: Towers, tower: _Tower, found: dict[str, _User]) -> np.ndarray:
    """Puts the users of this rank's rows into `found`, and returns their vectors in its order."""
    flags, head = towers.flags, towers.recommender.heads[0].config
    list_wise = head.kind != "logit"
    extra = [flags.item_id_field, flags.user_id_field, flags.exclude_field, "" if list_wise else head.label]
    names = tuple(name for name in extra if name)
    vectors = [tower.nothing()]
    for batch, first, columns in _batches(
        towers, tower.plan, _Wanted(flags.input_path, "--input_path", names)
    ):
        by_name = dict(zip(names, columns, strict=True))
        items = _text(by_name[flags.item_id_field])
        users = _text(by_name[flags.user_id_field]) if flags.user_id_field else None
        labels = None if list_wise else _text(by_name[head.label])
        excluded = _lists(by_name[flags.exclude_field], flags.separator) if flags.exclude_field else None
        fresh = []
        for i, item in enumerate(items):
            if labels is not None and not _number(labels[i], batch, i, head.label) > 0:
                continue
            id_ = str(first + i + 1) if users is None else users[i]
            if id_ not in found:
                found[id_] = _User(first + i, set(), [] if excluded is None else excluded[i])
                fresh.append(i)
            found[id_].chosen.add(item)
        vectors.append(tower(batch)[fresh])
    return np.concatenate(vectors)


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Rows to read.

    Attributes:
        path: The files.
        flag: The flag that names them.
        extra: Columns beyond those of the tower.
    """

    path: str
    flag: str
    extra: tuple[str, ...]


def _batches(
    towers: Towers, plan: FeaturePlan, wanted: _Wanted
) -> Iterator[tuple[PackedBatch, int, list[pa.Array]]]:
    """This rank's batches for a tower, the number of their first row, and the extra columns (its begin is
    collective)."""
    proto, group = towers.proto, towers.group
    packer = Packer(plan, proto.data_config.ignore_error)
    have = {field.name for field in plan.fields}
    more = [Field(name, "STRING", "") for name in dict.fromkeys(wanted.extra) if name not in have]
    source = run_on_all_ranks(
        group,
        lambda: open_source(
            proto,
            paths=[wanted.path],
            fields=(*plan.fields, *more),
            rank=group.rank,
            size=group.size,
            training=False,
            named=wanted.flag,
        ),
    )
    need_same_files(source.files, True, group)

    def pack(block: RowBlock) -> PackedBatch:
        return packer.pack_block(block, keep_raw=True)

    with Loader(source, pack, proto.data_config.prefetch_size) as batches:
        for number, batch in enumerate(batches):
            assert batch.raw is not None
            if batch.rows:
                # Whole batches are distributed round-robin.
                first = (number * group.size + group.rank) * int(proto.data_config.batch_size)
                yield batch, first, [batch.raw.column(name) for name in wanted.extra]


def _text(column: pa.Array) -> list[str]:
    """Cells as text; bytes that aren't UTF-8 are kept, so that different ids stay different."""
    return [
        value.decode(errors="surrogateescape") if isinstance(value, bytes) else value or ""
        for value in exact_text(column).to_pylist()
    ]


def _lists(column: pa.Array, separator: str) -> list[list[str]]:
    """The values of cells with several."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return [[str(value) for value in cell or []] for cell in column.to_pylist()]
    return [[value for value in cell.split(separator) if value] for cell in _text(column)]


def _number(text: str, batch: PackedBatch, row: int, label: str) -> float:
    """A label, 0 where its cell is empty."""
    try:
        number = float(text or 0)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        assert batch.locate is not None
        raise DataError(f"{batch.locate(row)}, column {label!r}: {text!r} is not a finite number")
    return number


def _item_places(table: ItemTable, places: Sequence[int] | np.ndarray) -> Callable[[int], str]:
    return lambda row: table.where(int(places[row]))
