"""Operations on a feature's values: pooling, and functions of numbers."""

from __future__ import annotations

#: How embeddings are pooled.
COMBINERS = ("sum", "mean", "sqrtn")
#: How the numbers of a cell, or of an element of a sequence, are pooled into one.
POOLS = ("sum", "mean", "min", "max")

#: Functions that `normalizer_fn` can name, by the last part of the dotted path (tf.math.log1p is log1p).
NORMALIZERS = (
    *("abs", "exp", "expm1", "identity", "log", "log1p", "sigmoid", "sign", "sqrt", "square", "tanh"),
)


def normalizer(name: str) -> str | None:
    """The short name of a `normalizer_fn`, "" for none; None if it is unknown."""
    short = name.rpartition(".")[2]
    known = short in NORMALIZERS and (name == short or name.startswith(("tf.", "math.")))
    return short if known or not name else None


def refusal(name: str) -> str:
    """The error text for an unknown `normalizer_fn`."""
    known = ", ".join(f"tf.math.{n}" for n in NORMALIZERS if n != "identity")
    return f"{name!r} would run code from a config, which is refused; use one of {known}"
