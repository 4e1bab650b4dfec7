"""The ranks of a Horovod job, for `cross_replica=True`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.losses.base import Replicas


def joined(loss: str, rows: tf.Tensor, dtype: tf.DType) -> Replicas | None:
    """The ranks that train together.

    They are those of `horovod.tensorflow`, which the program has initialised with `hvd.init()`, and average
    their gradients (`DistributedOptimizer`, `DistributedGradientTape`): a rank's share is 1 / ranks.

    Args:
        loss: Its name, used for the exchanged tensors.
        rows: int scalar, the number of rows on this rank.
        dtype: The type of the loss.

    Returns:
        The ranks; None if there is only one.

    Raises:
        UserError: Horovod isn't installed.
        ValueError: `hvd.init()` hasn't been called.
    """
    hvd = _horovod()
    if not hvd.is_initialized():
        raise ValueError("cross_replica=True needs horovod.tensorflow.init() first")
    if hvd.size() == 1:
        return None
    prefix = _unique(loss)
    total = hvd.allreduce(tf.cast(rows, tf.float32), op=hvd.Sum, name=f"hvdrec/{prefix}/count")
    return Replicas(
        rank=hvd.rank(),
        size=hvd.size(),
        concat=lambda value, name: hvd.allgather(value, name=f"hvdrec/{prefix}/{name}"),
        sum=lambda value, name: hvd.allreduce(value, op=hvd.Sum, name=f"hvdrec/{prefix}/{name}"),
        exchange=lambda value, counts, name: hvd.alltoall(
            value, splits=counts, name=f"hvdrec/{prefix}/{name}"
        )[0],
        share=tf.constant(1.0 / hvd.size(), dtype),
        rows=total,
    )


def _unique(loss: str) -> str:
    """A unique name in this graph; all ranks trace the same program, so their names agree."""
    if tf.executing_eagerly():
        return loss
    return tf.compat.v1.get_default_graph().unique_name(f"hvdrec_{loss}")


def _horovod() -> Any:
    try:
        import horovod.tensorflow as hvd
    except ImportError as error:
        raise UserError(
            f"cross_replica=True needs Horovod; run pip install hvdrec[horovod] ({error})"
        ) from error
    return hvd
