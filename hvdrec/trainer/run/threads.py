"""The number of cores that a process uses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.trainer.run.machine import cores


def set_threads(train_config: Any, local_size: int, one_host: bool = True) -> None:
    """Divides the machine's cores among its ranks; must run before TensorFlow's first operation.

    Args:
        train_config: Its fields take precedence.
        local_size: The ranks on this machine.
        one_host: Whether all ranks are on this machine. If not, TensorFlow has at least two threads for
            operations: they continue with whatever became ready last, so one alone would send gradients
            only after the backward pass.
    """
    intra, inter = threads(train_config, local_size, 1 if one_host else 2)
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def threads(train_config: Any, local_size: int, least: int = 1) -> tuple[int, int]:
    """A rank's number of threads per operation, and of concurrent operations, which is at least `least`."""
    own = max(1, cores() // local_size)
    intra, inter = train_config.intra_op_parallelism_threads, train_config.inter_op_parallelism_threads
    return intra or own, inter or max(own, least)
