"""Loads `hvdrec/_ops.so`, the TensorFlow ops over the kernels of csrc; csrc/tensorflow registers them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError

PATH = Path(__file__).resolve().parents[1] / "_ops.so"


@functools.cache
def load_ops() -> Any:
    """The module of the ops: op ``HvdrecSumOfSquares`` is its function ``hvdrec_sum_of_squares``.

    Raises:
        UserError: They were not built, or can't be loaded.
    """
    if not PATH.exists():
        raise UserError(f"the TensorFlow ops hvdrec/{PATH.name} are not built: run `make build`")
    try:
        return tf.load_op_library(str(PATH))
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the TensorFlow ops hvdrec/{PATH.name} can't be loaded ({reason}): run `make clean build`"
        ) from error


def implementation(choices: dict[str, Any], impl: str) -> Any:
    """The implementation of that name.

    Raises:
        ValueError: There is none.
    """
    if impl not in choices:
        raise ValueError(f"impl {impl!r} is not one of {', '.join(choices)}")
    return choices[impl]
