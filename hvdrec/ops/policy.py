"""Selects the implementation of each operation of a job, once and in one place."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.ops.library import load_ops

NATIVE, TENSORFLOW = "native", "tensorflow"

#: Models with at least this many dense weights use the native dense layers.
LARGE = 32_768
#: Batches with more rows never materialize their pairs.
FEW_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Policy:
    """The implementations of one job, each `NATIVE` or `TENSORFLOW`.

    Attributes:
        dense_layers: For dense layers in training. A small model is cheap and trains with EasyRec's order of
            rounding, so that its runs can be compared with EasyRec's step by step: one ReLU with an input
            that is 0 except for rounding makes two runs diverge permanently.
        pair_wise: For PAIR_WISE_LOSS over one rank's rows; like the layers, with EasyRec's order of rounding
            if a batch has few pairs.
        pairs: For the other pairwise losses.
        lists: For the list-wise losses.
        similarities: For the losses of embeddings.
        optimizers: For updates; servers have only TensorFlow's operations.
        norms: For the gradients' norm.
        reasons: The reasons for choices that need an explanation.
    """

    dense_layers: str
    pair_wise: str
    pairs: str
    lists: str
    similarities: str
    optimizers: str
    norms: str
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = (f.name for f in dataclasses.fields(self) if f.name != "reasons")
        found = {name: getattr(self, name) for name in parts}
        ours = [name.replace("_", " ") for name, impl in found.items() if impl == NATIVE]
        theirs = [name.replace("_", " ") for name, impl in found.items() if impl == TENSORFLOW]
        sides = [
            f"{what} for {', '.join(names)}"
            for what, names in (("native", ours), ("TensorFlow's", theirs))
            if names
        ]
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"operations: {'; '.join(sides)}{why}"


def resolve(dense_weights: int = LARGE, batch_size: int = FEW_ROWS + 1, own_kernels: bool = True) -> Policy:
    """Selects the implementations of a job.

    Args:
        dense_weights: The number of trained weights outside the tables.
        batch_size: Rows per batch.
        own_kernels: Whether native operations can update variables where they are placed.

    Raises:
        UserError: HVDREC_OPS is invalid, or the native operations are not built.
    """
    named, reasons = named_implementation(), []
    gpu = not named and bool(tf.config.list_logical_devices("GPU"))
    general = named or (TENSORFLOW if gpu else NATIVE)
    if general == NATIVE:
        load_ops()
    small = not named and dense_weights < LARGE
    layers = TENSORFLOW if small else general
    if named:
        reasons.append(f"HVDREC_OPS={named}")
    elif gpu:
        reasons.append("on a GPU")
    if small:
        reasons.append(f"{dense_weights} dense weights: EasyRec's rounding")
    if not own_kernels:
        reasons.append("updates run on servers")
    few = layers == TENSORFLOW and batch_size <= FEW_ROWS
    return Policy(
        dense_layers=layers,
        pair_wise=TENSORFLOW if few else named or NATIVE,
        pairs=named or NATIVE,
        lists=named or NATIVE,
        similarities=general,
        optimizers=general if own_kernels else TENSORFLOW,
        norms=general,
        reasons=tuple(reasons),
    )


def named_implementation() -> str:
    """The value of HVDREC_OPS, for comparisons: ``native``, ``tensorflow``, or empty.

    Raises:
        UserError: The value is none of these.
    """
    named = os.environ.get("HVDREC_OPS", "")
    if named not in ("", NATIVE, TENSORFLOW):
        raise UserError(f"HVDREC_OPS={named}: must be native or tensorflow")
    return named
