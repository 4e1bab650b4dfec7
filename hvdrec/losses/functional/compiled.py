"""Which implementation a loss takes, in XLA's compiled functions too."""

from __future__ import annotations

import logging

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from hvdrec.ops.policy import resolve

logger = logging.getLogger("hvdrec")
_told: set[str] = set()


def in_xla() -> bool:
    """Whether XLA will compile what is being traced: a `tf.function` with `jit_compile=True` is around it."""
    if tf.executing_eagerly():
        return False
    return bool(control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


def choose(loss: str, impl: str | None, *, pairs: bool, needs: str | None = None) -> str:
    """The implementation of a loss.

    Args:
        loss: Its name, for what is said.
        impl: What the caller asks for: ``native``, ``tensorflow``, or None.
        pairs: Whether it is a loss over pairs of scores, whose native op also serves a GPU's job (from the
            CPU).
        needs: An argument that only the native op can serve within XLA, if one is given.

    Returns:
        ``native`` or ``tensorflow``.

    Raises:
        ValueError: There is no such implementation, or XLA can't compile what is asked for.
    """
    _check(impl)
    if not in_xla():
        if impl is None:
            return resolve().pairs if pairs else resolve().similarities
        return impl
    if impl == "native":
        raise ValueError(
            f"{loss}: impl='native' can't be compiled by XLA; leave jit_compile=True out (Keras: "
            "compile(jit_compile=False)), or take impl='tensorflow', which makes all pairs"
        )
    if needs is not None:
        raise ValueError(
            f"{loss}: {needs} can't be compiled by XLA; leave jit_compile=True out (Keras: "
            "compile(jit_compile=False))"
        )
    if impl is None and loss not in _told:
        _told.add(loss)
        logger.warning(
            "%s: within jit_compile=True all pairs are made (impl='tensorflow'), in memory of rows times "
            "rows; without it (Keras: compile(jit_compile=False)) they never are",
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
