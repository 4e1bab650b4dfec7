"""Loads `hvdrec/_ops.so`, the TensorFlow ops over the kernels of csrc; csrc/tensorflow registers them."""

from __future__ import annotations

import functools
import mmap
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.ops.kernels import load_kernels

PATH = Path(__file__).resolve().parents[1] / "_ops.so"
#: The text in the library before TensorFlow's version and ";" (csrc/tensorflow/built_for.cc).
_BUILT_FOR = b"hvdrec was built for TensorFlow "


@functools.cache
def load_ops() -> Any:
    """The module of the ops: op ``HvdrecSumOfSquares`` is its function ``hvdrec_sum_of_squares``.

    Raises:
        UserError: The ops were not built, can't be loaded, or were built for another TensorFlow or another
            processor.
    """
    if not PATH.exists():
        raise UserError(f"the TensorFlow ops hvdrec/{PATH.name} are not built: run `make build`")
    _check_built_for(tf.__version__)
    load_kernels()
    try:
        return tf.load_op_library(str(PATH))
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the TensorFlow ops hvdrec/{PATH.name} can't be loaded ({reason}): run `make clean build`"
        ) from error


def _check_built_for(running: str) -> None:
    """Refuses a library built for another TensorFlow; patch releases are compatible."""
    with PATH.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = content.find(_BUILT_FOR)
            if start < 0:
                return
            start += len(_BUILT_FOR)
            built_for = content[start : content.find(b";", start)].decode()
    if built_for.split(".")[:2] != running.split(".")[:2]:
        raise UserError(
            f"the TensorFlow ops hvdrec/{PATH.name} were built for TensorFlow {built_for}, but this "
            f"is TensorFlow {running}: install tensorflow {built_for}, or rebuild hvdrec with this one"
        )


def implementation(choices: dict[str, Any], impl: str) -> Any:
    """The implementation of that name.

    Raises:
        ValueError: It doesn't exist.
    """
    if impl not in choices:
        raise ValueError(f"impl {impl!r} is not one of {', '.join(choices)}")
    return choices[impl]
