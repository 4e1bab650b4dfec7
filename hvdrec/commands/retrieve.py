"""`hvdrec.retrieve`: embeds users and items, searches exactly, and reports the quality."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf

from hvdrec.commands.restored import restore
from hvdrec.config import Config
from hvdrec.config.samplers import sampler_config
from hvdrec.data import open_source
from hvdrec.data.batch import PackedBatch, RowBlock
from hvdrec.data.column_types import exact_text
from hvdrec.data.files import list_files
from hvdrec.data.loader import Loader
from hvdrec.data.negatives.tables import ItemTable, read_items
from hvdrec.errors import ConfigError, DataError
from hvdrec.features import Packer
from hvdrec.features.build import tower_plan
from hvdrec.features.plan import FeaturePlan, Field
from hvdrec.metrics.retrieval import RetrievalQuality, nearest
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.environment import launched_size
from hvdrec.parallel.single import SingleReplica
from hvdrec.storage import is_remote, local, write_text
from hvdrec.trainer.run import log
from hvdrec.trainer.run.log import json_numbers
from hvdrec.trainer.run.places import need_file, need_other_file
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.step.dynamic_rows import DynamicRows
from hvdrec.trainer.step.feed import Feed, FeedCall, call_spec


def retrieve(config: Config, flags: Any) -> dict[str, float]:
    """Prints how often users chose their nearest items, and writes the nearest items.

    Args:
        config: The config of a matching model.
        flags: See `hvdrec.config.flags.retrieve.RetrieveFlags`.

    Returns:
        The metrics by name.

    Raises:
        ConfigError: Several processes were started, or the output would overwrite an input.
    """
    if launched_size() > 1:
        raise ConfigError(
            f"hvdrec.retrieve runs in one process, but {launched_size()} were started, which would write the "
            "same file; start it without a launcher"
        )
    log.set_up(0, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, 1)
    if flags.output_path:
        read = list_files([flags.input_path], "--input_path")
        read += list_files([flags.item_input_path], "--item_input_path") if flags.item_input_path else []
        need_other_file(flags.output_path, "--output_path", [file.name for file in read])
        if not is_remote(flags.output_path):
            need_file(local(flags.output_path), "--output_path")
    job, step = restore(config, SingleReplica(), flags.checkpoint_path)
    data = config.proto.data_config
    data.ClearField("eval_batch_size")
    data.batch_size = flags.batch_size
    items = _Items.of_rows(config.proto, job.recommender, flags) if flags.item_input_path else None
    items = items or _Items.of_table(config.proto, job.recommender, flags)
    users = _Users.read(config.proto, job.recommender, flags, items.place)
    found = nearest(users.vectors, items.vectors, max(flags.topk))
    quality = RetrievalQuality(flags.topk)
    for places, chosen in zip(found.places, users.chosen, strict=True):
        quality.add(places.tolist(), chosen)
    if flags.output_path:
        write_text(flags.output_path, "".join(_lines(users.ids, items.ids, found.places, found.scores)))
    result = dict(quality.result())
    shown = {"step": step, "users": quality.users, "items": len(items.ids), **json_numbers(result)}
    print(json.dumps(shown), flush=True)
    return result


def _lines(users: list[str], items: list[str], places: np.ndarray, scores: np.ndarray) -> Iterator[str]:
    """A user, a tab, and the nearest items with their scores: ``item:score,item:score``."""
    for user, row, values in zip(users, places, scores, strict=True):
        pairs = (f"{items[place]}:{score:.6g}" for place, score in zip(row, values, strict=True))
        yield f"{user}\t{','.join(pairs)}\n"


class _Tower:
    """One tower of the model, applied to packed rows."""

    def __init__(self, proto: Any, recommender: Recommender, side: str) -> None:
        self.plan = tower_plan(proto, side)
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

        self._embed = tf.function(embed, input_signature=[call_spec(self._feed.specs)], autograph=False)

    def __call__(self, batch: PackedBatch) -> np.ndarray:
        """The vectors, float32 [B, D], of users with interests [B, K, D]."""
        return self._embed(self._feed.stack([batch])).numpy()


@dataclasses.dataclass(frozen=True)
class _Items:
    """The items to search.

    Attributes:
        ids: Unique ids, as text.
        vectors: float32 [I, D].
        place: The index of each item, by id.
    """

    ids: list[str]
    vectors: np.ndarray
    place: dict[str, int]

    @classmethod
    def of(cls, ids: list[str], vectors: list[np.ndarray]) -> _Items:
        return cls(ids, np.concatenate(vectors), {id_: place for place, id_ in enumerate(ids)})

    @classmethod
    def of_table(cls, proto: Any, recommender: Recommender, flags: Any) -> _Items:
        """The items of the sampler's table."""
        sampler = sampler_config(proto)
        assert sampler is not None
        path = sampler.input_path if hasattr(sampler, "input_path") else sampler.item_input_path
        table = read_items(
            path, "the sampler's item table", list(sampler.attr_fields), sampler.attr_delimiter
        )
        _, first = np.unique(table.ids, return_index=True)
        first = np.sort(first).astype(np.int32)
        tower = _Tower(proto, recommender, "item")
        packer = Packer(tower.plan)
        names = [field.name for field in tower.plan.fields]
        vectors = []
        for start in range(0, len(first), flags.batch_size):
            places = first[start : start + flags.batch_size]
            columns = table.columns(places).select(names)
            rows, arrays = packer.pack(columns, _item_places(table, places))
            vectors.append(tower(PackedBatch(rows, arrays)))
        return cls.of([str(id_) for id_ in table.ids[first]], vectors)

    @classmethod
    def of_rows(cls, proto: Any, recommender: Recommender, flags: Any) -> _Items:
        """The items in rows; each is taken from its first row."""
        tower = _Tower(proto, recommender, "item")
        ids: list[str] = []
        place: dict[str, int] = {}
        vectors = []
        extra = (flags.item_id_field,)
        for batch, (column,) in _rows(proto, tower.plan, flags.item_input_path, "--item_input_path", extra):
            fresh = []
            for i, id_ in enumerate(column):
                if id_ not in place:
                    place[id_] = len(ids)
                    ids.append(id_)
                    fresh.append(i)
            vectors.append(tower(batch)[fresh])
        if not ids:
            raise DataError(f"--item_input_path: {flags.item_input_path} has no rows")
        return cls.of(ids, vectors)


@dataclasses.dataclass(frozen=True)
class _Users:
    """The users to search for.

    Attributes:
        ids: Ids as text; the row number if each row is a user.
        vectors: float32 [U, D] or [U, K, D].
        chosen: The indices of the items that each user chose; below 0 for items outside the search.
    """

    ids: list[str]
    vectors: np.ndarray
    chosen: list[set[int]]

    @classmethod
    def read(cls, proto: Any, recommender: Recommender, flags: Any, place: dict[str, int]) -> _Users:
        """Users of rows with a label above 0; a repeated user has the first row's features and all items."""
        tower = _Tower(proto, recommender, "user")
        list_wise = recommender.heads[0].config.kind != "logit"
        label = recommender.heads[0].config.label
        extra = (flags.item_id_field, *([flags.user_id_field] if flags.user_id_field else []))
        extra += () if list_wise else (label,)
        number: dict[str, int] = {}
        ids: list[str] = []
        chosen: list[set[int]] = []
        vectors, row = [], 0
        for batch, columns in _rows(proto, tower.plan, flags.input_path, "--input_path", extra):
            fresh = []
            for i, item in enumerate(columns[0]):
                row += 1
                if not list_wise and not _number(columns[-1][i], batch, i, label) > 0:
                    continue
                user = columns[1][i] if flags.user_id_field else str(row)
                if user not in number:
                    number[user] = len(ids)
                    ids.append(user)
                    chosen.append(set[int]())
                    fresh.append(i)
                chosen[number[user]].add(place.get(item, -1 - row))
            vectors.append(tower(batch)[fresh])
        if not ids:
            raise DataError(f"--input_path: {flags.input_path} has no row with a label above 0")
        return cls(ids, np.concatenate(vectors), chosen)


def _rows(
    proto: Any, plan: FeaturePlan, path: str, flag: str, extra: tuple[str, ...]
) -> Iterator[tuple[PackedBatch, list[list[str]]]]:
    """Packed batches for a tower, with some columns as text."""
    packer = Packer(plan, proto.data_config.ignore_error)
    have = {field.name for field in plan.fields}
    more = [Field(name, "STRING", "") for name in dict.fromkeys(extra) if name not in have]
    source = open_source(proto, paths=[path], fields=(*plan.fields, *more), training=False, named=flag)

    def pack(block: RowBlock) -> PackedBatch:
        return packer.pack_block(block, keep_raw=True)

    with Loader(source, pack, proto.data_config.prefetch_size) as batches:
        for batch in batches:
            assert batch.raw is not None
            if batch.rows:
                yield batch, [_text(batch.raw.column(name)) for name in extra]


def _text(column: pa.Array) -> list[str]:
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value or ""
        for value in exact_text(column).to_pylist()
    ]


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


def _item_places(table: ItemTable, places: np.ndarray) -> Callable[[int], str]:
    return lambda row: table.where(int(places[row]))
