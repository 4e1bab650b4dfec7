"""What a run's tables and optimizer slots take, said and compared with the machine before they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import tensorflow as tf

from hvdrec.features.plan import FeaturePlan
from hvdrec.layers import memory
from hvdrec.layers.placement import HERE, Placement
from hvdrec.optim.registry import build_optimizer
from hvdrec.trainer.run.log import logger

_FLOAT_BYTES = 4
#: The most that an id takes in the map of a table without a fixed size: 24 bytes, between 3/8 and 3/4 full.
ID_BYTES = 64


def need_memory(
    plan: FeaturePlan, optimizers: Sequence[Any], rank: int, processes: int, placement: Placement = HERE
) -> None:
    """Makes sure that the tables and their slots can be held.

    Args:
        plan: The feature plan.
        optimizers: All of `optimizer_config`.
        rank: Rank 0 says how much they take.
        processes: Ranks of this machine.
        placement: How many of the rows are held here.

    Raises:
        ConfigError: The machine hasn't got that much.
    """
    slots = [_slots(config) for config in optimizers]
    held = [placement.rows_held(bank.rows, bank.dim) for bank in plan.banks]
    values = sum(
        rows * bank.dim * (1 + (0 if bank.frozen else slots[bank.optimizer]))
        for bank, rows in zip(plan.banks, held, strict=True)
    )
    tables = [(table.rows * bank.dim, table.name) for bank in plan.banks for table in bank.tables]
    if not tables:
        return
    size, largest = values * _FLOAT_BYTES, max(tables)
    part = "" if sum(held) == sum(bank.rows for bank in plan.banks) else "a rank's share of "
    per_weight = f"{max(slots)} slot{'' if max(slots) == 1 else 's'} of the optimizer for each weight"
    what = (
        f"{part}the {len(tables)} embedding tables, of which {largest[1]} is the largest "
        f"({memory.shown(largest[0] * _FLOAT_BYTES)}), with {per_weight}"
    )
    memory.need(size, what, processes)
    if rank != 0:
        return
    for bank in plan.banks:
        if bank.dynamic:
            row = bank.dim * _FLOAT_BYTES * (1 + (0 if bank.frozen else slots[bank.optimizer]))
            logger.info(
                "%d tables of width %d have no fixed size (ev_params): an id takes %d bytes, and up to %d "
                "more for finding its row",
                *(len(bank.tables), bank.dim, row, ID_BYTES),
            )
    taken = (part, memory.shown(size), _each(processes))
    logger.info("%sembedding tables and optimizer slots take %s%s", *taken)
    available = psutil.virtual_memory().available
    if size * processes > available:
        logger.warning(
            "that is more than the %s of memory that is currently available on this machine",
            memory.shown(available),
        )


def _slots(config: Any) -> int:
    """How many numbers an optimizer keeps for each weight of a table."""
    optimizer = build_optimizer(config)
    optimizer.create_slots([tf.Variable(tf.zeros([1, 1]), name="probe")])
    return len(optimizer.slots)


def _each(processes: int) -> str:
    return f" in each of {processes} ranks" if processes > 1 else ""
