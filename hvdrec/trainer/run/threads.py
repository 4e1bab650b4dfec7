"""The number of cores that a process uses."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.trainer.run.machine import cores


def set_threads(train_config: Any, local_size: int) -> None:
    """Divides the machine's cores among its ranks; must run before TensorFlow's first operation."""
    intra, inter = threads(train_config, local_size)
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def threads(train_config: Any, local_size: int) -> tuple[int, int]:
    """A rank's number of threads per operation, and of concurrent operations."""
    own = max(1, cores() // local_size)
    return train_config.intra_op_parallelism_threads or own, train_config.inter_op_parallelism_threads or own
