"""How many of the machine's cores a process takes."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.trainer.run.machine import cores


def set_threads(train_config: Any, local_size: int) -> None:
    """Shares the machine's cores between its ranks; must come before TensorFlow's first operation."""
    intra, inter = threads(train_config, local_size)
    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def threads(train_config: Any, local_size: int) -> tuple[int, int]:
    """A rank's threads within an operation, and operations at a time."""
    own = max(1, cores() // local_size)
    return train_config.intra_op_parallelism_threads or own, train_config.inter_op_parallelism_threads or own
