"""Warns about resources that a run needs and its machine lacks."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from hvdrec.trainer.run.log import logger


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warn_of_machine(train_config: Any, visible: str | None, local_size: int) -> None:
    """Warns if there are more ranks than cores, or if requested GPUs are missing (for rank 0).

    Args:
        train_config: The run's `train_config`.
        visible: `--gpu`.
        local_size: Ranks on this machine.
    """
    there = cores()
    if local_size > there:
        logger.warning(
            "%d ranks share %d cores of this machine: fewer ranks may be faster", local_size, there
        )
    wanted = int(train_config.num_gpus_per_worker)
    asks = (
        f"--gpu {visible}"
        if visible not in (None, "", "-1")
        else f"train_config.num_gpus_per_worker: {wanted}" * (wanted > 1)
    )
    if asks and not tf.config.list_physical_devices("GPU"):
        logger.warning("%s: TensorFlow sees no GPU here; training runs on the CPU", asks)
