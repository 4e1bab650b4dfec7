"""Refuses outputs of a model that aren't finite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hvdrec.errors import TrainingError


def need_finite(values: np.ndarray, what: str, locate: Callable[[int], str] | None) -> None:
    """Checks that all outputs are finite.

    Args:
        values: The outputs [B, ...]; those that aren't floats are finite.
        what: Their name, for the message.
        locate: Maps a row to its location, for the message.

    Raises:
        TrainingError: One isn't. Cells are checked before, so the reason is in the weights.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
    where = f"{locate(row)}: " if locate else ""
    raise TrainingError(
        f"{where}{what} has a number that isn't finite; do the checkpoint's weights, or is a cell too large "
        "for the model?"
    )
