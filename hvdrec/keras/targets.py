"""Extracts labels and sessions from `y_true`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.keras.installed import registered

#: A function that returns labels and sessions of a `y_true`, or the key of the sessions in a dictionary.
Sessions = Callable[[Any], tuple[Any, Any]] | str | None


@registered
def session_in_last_column(y_true: Any) -> tuple[Any, Any]:
    """Labels in the first and session ids in the last of two columns.

    Pass it as `sessions=` of a loss or metric. Integers keep all their digits only if both columns are
    integers (int64): in float32, ids from 2^24 on collide.

    Args:
        y_true: [B, 2].

    Returns:
        Labels [B] and sessions [B].

    Raises:
        ValueError: `y_true` has another shape.
    """
    tensor = tf.convert_to_tensor(y_true)
    if tensor.shape.rank is not None and (tensor.shape.rank != 2 or tensor.shape[1] not in (2, None)):
        raise ValueError(f"y_true has shape {tensor.shape}: session_in_last_column needs [rows, 2]")
    return tensor[:, 0], tensor[:, 1]


def split(y_true: Any, sessions: Sessions) -> tuple[Any, Any]:
    """Labels and sessions; None if all rows are one session.

    Raises:
        ValueError: `sessions` is a key, but `y_true` is not a dictionary with it and one other key.
    """
    if sessions is None:
        return y_true, None
    if callable(sessions):
        return sessions(y_true)
    if not isinstance(y_true, dict) or sessions not in y_true or len(y_true) != 2:
        keys = sorted(y_true) if isinstance(y_true, dict) else type(y_true).__name__
        raise ValueError(
            f"sessions={sessions!r} needs y_true to be a dictionary of labels and {sessions!r}, "
            f"but it is {keys}"
        )
    (labels,) = (value for key, value in y_true.items() if key != sessions)
    return labels, y_true[sessions]
