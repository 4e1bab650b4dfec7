"""Selects the implementation of a loss, including in functions compiled by XLA."""

from __future__ import annotations

import logging

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from hvdrec.ops.policy import resolve

logger = logging.getLogger("hvdrec")
_told: set[str] = set()


def in_xla() -> bool:
    """Whether XLA will compile the traced code: it is inside a `tf.function` with `jit_compile=True`."""
    if tf.executing_eagerly():
        return False
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


def choose(loss: str, impl: str | None, *, pairs: bool, needs: str | None = None) -> str:
    """The implementation of a loss.

    Args:
        loss: Its name, for messages.
        impl: The caller's choice: ``native``, ``tensorflow``, or None.
        pairs: Whether it is a loss over pairs of scores; its native op is used in GPU jobs too (on the CPU).
        needs: An argument that only the native op supports inside XLA, if given.

    Returns:
        ``native`` or ``tensorflow``.

    Raises:
        ValueError: The implementation is unknown, or XLA can't compile it.
    """
    _check(impl)
    if not in_xla():
        if impl is None:
            return resolve().pairs if pairs else resolve().similarities
        return impl
    if impl == "native":
        raise ValueError(
            f"{loss}: impl='native' can't be compiled by XLA; remove jit_compile=True (Keras: "
            "compile(jit_compile=False)), or use impl='tensorflow', which computes all pairs"
        )
    if needs is not None:
        raise ValueError(
            f"{loss}: {needs} can't be compiled by XLA; remove jit_compile=True (Keras: "
            "compile(jit_compile=False))"
        )
    if impl is None and loss not in _told:
        _told.add(loss)
        logger.warning(
            "%s: jit_compile=True computes all pairs (impl='tensorflow'), with memory quadratic in "
            "the rows; without it (Keras: compile(jit_compile=False)) pairs are never materialized",
            loss,
        )
    return "tensorflow"


def choose_for_lists(loss: str, impl: str | None) -> str:
    """The implementation of a loss over sessions, which XLA can't compile; see `choose`.

    Raises:
        ValueError: There is no such implementation, or XLA is to compile it.
    """
    _check(impl)
    if in_xla():
        raise ValueError(
            f"{loss} can't be compiled by XLA; leave jit_compile=True out (Keras: compile(jit_compile=False))"
        )
    return impl or resolve().lists


def _check(impl: str | None) -> None:
    if impl not in (None, "native", "tensorflow"):
        raise ValueError(f"impl is {impl!r}: must be 'native', 'tensorflow' or None")
