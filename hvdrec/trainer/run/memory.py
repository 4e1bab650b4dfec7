"""What a run's tables and optimizer slots take, said and compared with the machine before they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import tensorflow as tf

from hvdrec.features.plan import Bank, FeaturePlan
from hvdrec.layers import memory
from hvdrec.layers.placement import HERE, Placement
from hvdrec.optim.registry import build_optimizer
from hvdrec.trainer.run.log import logger

_FLOAT_BYTES = 4
#: The most that an id takes in the map of a table without a fixed size: 24 bytes, between 3/8 and 3/4 full.
ID_BYTES = 64


def need_memory(
    plan: FeaturePlan,
    train: Any,
    rank: int,
    processes: int,
    placement: Placement = HERE,
    in_group: int | None = None,
) -> None:
    """Makes sure that the tables, their slots and the copy for `incr_save_config` can be held.

    Args:
        plan: The feature plan.
        train: The `TrainConfig`.
        rank: Rank 0 says how much they take.
        processes: Ranks of this machine.
        placement: How many of the rows are held here.
        in_group: Ranks in this process's cgroup; None: all of this machine.

    Raises:
        ConfigError: The machine hasn't got that much.
    """
    slots = slots_of(train.optimizer_config)
    held = [placement.rows_held(i, bank.rows) for i, bank in enumerate(plan.banks)]
    tables = [(table.rows * bank.dim, table.name) for bank in plan.banks for table in bank.tables]
    if not tables:
        return
    size = sum(rows * bytes_per_row(bank, slots) for bank, rows in zip(plan.banks, held, strict=True))
    largest = max(tables)
    part = "" if sum(held) == sum(bank.rows for bank in plan.banks) else "a rank's share of "
    copied = ""
    if train.HasField("incr_save_config"):
        copied = ", and the copy that incr_save_config compares with"
        pairs = zip(plan.banks, held, strict=True)
        copy = sum(_FLOAT_BYTES * rows * bank.dim for bank, rows in pairs if not bank.frozen)
        # Of whole tables, only one rank has a copy.
        size += copy if part else -(-copy // processes)
    per_weight = f"{max(slots)} slot{'' if max(slots) == 1 else 's'} of the optimizer for each weight"
    what = (
        f"{part}the {len(tables)} embedding tables, of which {largest[1]} is the largest "
        f"({memory.shown(largest[0] * _FLOAT_BYTES)}), with {per_weight}{copied}"
    )
    memory.need(size, what, processes, in_group)
    if rank != 0:
        return
    for bank in plan.banks:
        if bank.dynamic:
            row = bytes_per_row(bank, slots)
            logger.info(
                "%d tables of width %d have no fixed size (ev_params): an id takes %d bytes, and up to %d "
                "more for finding its row",
                *(len(bank.tables), bank.dim, row, ID_BYTES),
            )
    taken = (part, copied, memory.shown(size), _each(processes))
    logger.info("%sembedding tables and optimizer slots%s take %s%s", *taken)
    available = psutil.virtual_memory().available
    if size * processes > available:
        logger.warning(
            "that is more than the %s of memory that is currently available on this machine",
            memory.shown(available),
        )


def slots_of(optimizers: Sequence[Any]) -> list[int]:
    """How many numbers each optimizer keeps for each weight of a table."""
    found = []
    for config in optimizers:
        optimizer = build_optimizer(config)
        optimizer.create_slots([tf.Variable(tf.zeros([1, 1]), name="probe")])
        found.append(len(optimizer.slots))
    return found


def bytes_per_row(bank: Bank, slots: Sequence[int]) -> int:
    """The bytes of a bank's row with its slots.

    Args:
        bank: The bank.
        slots: As `slots_of` returns.
    """
    return bank.dim * _FLOAT_BYTES * (1 + (0 if bank.frozen else slots[bank.optimizer]))


def _each(processes: int) -> str:
    return f" in each of {processes} ranks" if processes > 1 else ""
