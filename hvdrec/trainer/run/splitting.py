"""Which embedding tables of a run are split over its ranks."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import NamedTuple

from hvdrec.config.protos.train_pb2 import EmbeddingSplit, TrainConfig
from hvdrec.config.splitting import is_split
from hvdrec.features.plan import Bank, FeaturePlan
from hvdrec.layers import memory
from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.replicated import bytes_replicated
from hvdrec.layers.banks.split import bytes_a_step
from hvdrec.layers.placement import HERE, Placement, SplitTables
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.run.memory import bytes_per_row, slots_of

_FLOAT_BYTES = 4
#: Replicas have to send this many times the bytes of split tables: those wait for three exchanges in a row.
_WORTH = 2.0


class Ranks(NamedTuple):
    """What matters of the processes that train.

    Attributes:
        size: Their number.
        one_host: Whether they are on one machine, where bytes cost little.
        least: The least memory that any of them may have.
        in_group: Those in this process's cgroup.
    """

    size: int
    one_host: bool
    least: memory.Limit
    in_group: int


def ranks_of(group: ReplicaGroup) -> Ranks:
    """Describes the ranks (collective)."""
    own = (socket.gethostname(), memory.group_name())
    in_group = group.gather_objects(own).count(own)
    least = min(group.gather_objects(min(memory.limits(group.local_size, in_group))))
    return Ranks(group.size, group.one_host, least, in_group)


def place_tables(
    plan: FeaturePlan, train: TrainConfig, batch_size: int, group: ReplicaGroup, ranks: Ranks
) -> Placement:
    """Decides by `embedding_split`, identically on every rank, and logs it on rank 0.

    Args:
        plan: The feature plan.
        train: `train_config`.
        batch_size: Rows of a rank's batch.
        group: The ranks.
        ranks: As `ranks_of` returns.
    """
    if group.size == 1 or train.embedding_split == EmbeddingSplit.REPLICATED:
        return HERE
    least = int(train.embedding_split_min_bytes)
    large = [i for i, bank in enumerate(plan.banks) if _FLOAT_BYTES * bank.rows * bank.dim >= least]
    if is_split(train):
        return SplitTables(group, large)
    if any(bank.dynamic for bank in plan.banks):
        return HERE
    chosen = dict[int, str]()
    half = train.allgather_compression == TrainConfig.AllreduceCompression.FP16
    if train.sparse_reduce == TrainConfig.SparseReduce.AUTO:
        chosen.update(_by_bytes(plan.banks, large, batch_size, ranks, half))
    chosen.update(_by_memory(plan.banks, large, slots_of(train.optimizer_config), ranks, chosen))
    if group.rank == 0:
        for i in large:
            tables = f"the tables of width {plan.banks[i].dim} (bank_{i})"
            why = chosen.get(i)
            logger.info(
                "embedding_split: AUTO: %s %s",
                tables,
                f"are split over the ranks: {why}" if why else "are on every rank, where they fit",
            )
    return SplitTables(group, chosen) if chosen else HERE


def _by_bytes(
    banks: Sequence[Bank], large: Sequence[int], batch_size: int, ranks: Ranks, half: bool
) -> dict[int, str]:
    """The banks of which replicas would send too many bytes over a network, and why."""
    found = dict[int, str]()
    for i in large:
        bank, n = banks[i], ranks.size
        touched = bank.touched(batch_size)
        replicas = bytes_replicated(bank.rows, touched, bank.dim, n, half)
        split = bytes_a_step(touched, bank.dim, n, half)
        if not ranks.one_host and not bank.frozen and replicas >= _WORTH * split:
            found[i] = (
                f"of {touched:,} rows that a batch touches, a rank would send about "
                f"{memory.shown(replicas)} for replicas, and {memory.shown(split)} for split tables"
            )
    return found


def _by_memory(
    banks: Sequence[Bank], large: Sequence[int], slots: Sequence[int], ranks: Ranks, chosen: dict[int, str]
) -> dict[int, str]:
    """The largest of the other banks, as many as are necessary for the rest to fit, and why."""
    shares, wholes = list[int](), list[int]()
    for bank in banks:
        row = bytes_per_row(bank, slots)
        wholes.append(bank.rows * row)
        shares.append(Deal(bank.rows, ranks.size).per_rank * row)
    found = dict[int, str]()
    for i in sorted(large, key=lambda i: -wholes[i]):
        held = sum(shares[j] if j in found or j in chosen else wholes[j] for j in range(len(banks)))
        if held <= ranks.least.size:
            break
        if i not in chosen:
            found[i] = (
                f"replicas of all tables would take {memory.shown(sum(wholes))}, and "
                f"{ranks.least.where} {memory.shown(ranks.least.size)}"
            )
    return found
