"""What a run asks for that its machine hasn't got."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvdrec.trainer.run.log import logger

#: Where Linux has a control group's limit and what is used of it: version 2, version 1.
_CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_bytes() -> int:
    """Memory that this process can still take, by the machine, its control group and its own limit."""
    limits = [_meminfo("MemAvailable")]
    for limit, used in _CONTROL_GROUPS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    if own != resource.RLIM_INFINITY:
        limits.append(own - int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize())
    return max(0, min(limits))


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return sys.maxsize


def warn_of_machine(train_config: Any, visible: str | None, local_size: int) -> None:
    """Warns of more ranks than cores, and of GPUs that are asked for and aren't there (for rank 0).

    Args:
        train_config: The run's.
        visible: `--gpu`.
        local_size: Ranks on this machine.
    """
    there = cores()
    if local_size > there:
        logger.warning("%d ranks share %d cores of this machine: fewer may be faster", local_size, there)
    wanted = int(train_config.num_gpus_per_worker)
    asks = f"--gpu {visible}" if visible else f"train_config.num_gpus_per_worker: {wanted}" * (wanted > 1)
    if asks and not tf.config.list_physical_devices("GPU"):
        logger.warning("%s: TensorFlow sees no GPU here; training runs on the CPU", asks)
