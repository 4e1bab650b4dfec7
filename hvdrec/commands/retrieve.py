"""`hvdrec.retrieve`: embeds users and items, searches, and reports the quality."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.commands.neighbour_files import Neighbours, write_neighbours
from hvdrec.commands.output_files import output_path
from hvdrec.commands.restored import restore, share
from hvdrec.commands.searched import Items, Towers, Users, read_items, read_users
from hvdrec.config import Config
from hvdrec.data.files import list_files
from hvdrec.metrics.indexes import open_search
from hvdrec.metrics.retrieval import RetrievalQuality, without
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import json_numbers, logger
from hvdrec.trainer.run.places import need_file, need_no_other_parts, need_other_file
from hvdrec.trainer.run.run_folder import bring_checkpoint, open_run_folder
from hvdrec.trainer.run.threads import set_threads

#: The users that are searched for at a time.
_USERS = 8192


def retrieve(config: Config, flags: Any) -> dict[str, float]:
    """Prints how often users chose their nearest items, and writes the nearest items.

    Args:
        config: The config of a matching model.
        flags: See `hvdrec.config.flags.retrieve.RetrieveFlags`.

    Returns:
        The metrics by name, over the users of all ranks.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    group.watch()
    result = retrieve_on(group, config, flags)
    group.close()
    return result


def retrieve_on(group: ReplicaGroup, config: Config, flags: Any) -> dict[str, float]:
    """`retrieve` on some ranks (collective).

    Each embeds a part of the items and of the users, and searches all items for its users.

    Args:
        group: The ranks.
        config: See `retrieve`.
        flags: See `retrieve`.

    Raises:
        ConfigError: The output can't be written, or would overwrite an input.
    """
    run_on_all_ranks(group, lambda: _need_place(group, flags))
    data = config.proto.data_config
    data.ClearField("eval_batch_size")
    data.batch_size = flags.batch_size
    with contextlib.ExitStack() as stack:
        remote = storage.is_remote(flags.checkpoint_path or "")
        folder = stack.enter_context(open_run_folder(config, group, remote))
        checkpoint = bring_checkpoint(config, group, folder.work_dir, flags.checkpoint_path)
        job, step = run_on_all_ranks(group, lambda: restore(config, group, checkpoint, folder))
        share(job)
    towers = Towers(config.proto, job.recommender, group, flags)
    items = read_items(towers)
    users = read_users(towers, items.place)
    _warn(group, flags.topk, items, users)
    found = run_on_all_ranks(group, lambda: _search(group, flags, items, users))
    quality = RetrievalQuality(flags.topk)
    quality.join(group.gather_objects(found))
    result = dict(quality.result())
    if group.rank == 0:
        shown = {"step": step, "users": quality.users, "items": len(items.ids), **json_numbers(result)}
        print(json.dumps(shown), flush=True)
    return result


def _warn(group: ReplicaGroup, topk: Sequence[int], items: Items, users: Users) -> None:
    """Reports what makes the metrics mean something else (collective)."""
    chosen = sum(group.gather_objects(sum(map(len, users.chosen))))
    outside = sum(group.gather_objects(sum(place < 0 for places in users.chosen for place in places)))
    if group.rank:
        return
    if max(topk) > len(items.ids):
        logger.warning("--topk: %d is more than the %d items that are searched", max(topk), len(items.ids))
    if outside:
        logger.warning(
            "%d of the %d items that users chose are not among those that are searched; they count as missed",
            outside,
            chosen,
        )


def _need_place(group: ReplicaGroup, flags: Any) -> None:
    """Checks that the output can be written without losing the input."""
    if not flags.output_path:
        return
    path = output_path(flags.output_path, "tsv", group.rank, group.size)
    read = list_files([flags.input_path], "--input_path")
    read += list_files([flags.item_input_path], "--item_input_path") if flags.item_input_path else []
    need_other_file(path, "--output_path", [file.name for file in read])
    if group.rank == 0:
        need_no_other_parts(path, flags.output_path, "--output_path", group.size)
    if not storage.is_remote(path):
        need_file(path, "--output_path")


def _search(group: ReplicaGroup, flags: Any, items: Items, users: Users) -> RetrievalQuality:
    """Searches for this rank's users, and writes what it finds."""
    quality = RetrievalQuality(flags.topk)
    search = open_search(flags.search, items.vectors)
    most = max(flags.topk)

    def blocks() -> Iterator[Neighbours]:
        for start in range(0, len(users.ids), _USERS):
            part = users.part(start, start + _USERS)
            more = max((len(each) for each in part.excluded), default=0)
            nearest = search(part.vectors, most + more)
            if more:
                nearest = without(nearest, part.excluded, most)
            for places, chosen in zip(nearest.places, part.chosen, strict=True):
                quality.add(places[places >= 0].tolist(), chosen)
            yield Neighbours(part.ids, part.chosen, nearest)

    if flags.output_path:
        path = output_path(flags.output_path, "tsv", group.rank, group.size)
        write_neighbours(path, flags.output_format, items.ids, blocks())
    else:
        for _ in blocks():
            pass
    return quality
