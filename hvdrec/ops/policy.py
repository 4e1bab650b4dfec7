"""Which implementation of each operation a job runs: decided once, here, and handed on."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from hvdrec.errors import UserError
from hvdrec.ops.library import load_ops

NATIVE, TENSORFLOW = "native", "tensorflow"

#: From so many dense weights on a model trains by the native dense layers.
LARGE = 32_768
#: Batches of more rows never make their pairs.
FEW_ROWS = 512


@dataclasses.dataclass(frozen=True)
class Policy:
    """The implementations of one job, each `NATIVE` or `TENSORFLOW`.

    Attributes:
        dense_layers: Of dense layers in training. A small model costs little and trains in EasyRec's
            own order of rounding, so that its runs can be held against EasyRec's step by step: a
            ReLU whose input is 0 but for rounding makes two runs part for good.
        pair_wise: Of PAIR_WISE_LOSS over one rank's rows, in EasyRec's order of rounding like the
            layers where the pairs of a batch are few.
        pairs: Of the other losses over pairs.
        lists: Of the losses over sessions.
        similarities: Of the losses of embeddings.
        optimizers: Of updates; servers have TensorFlow's operations only.
        norms: Of the gradients' norm.
        reasons: Why, for whom it isn't plain.
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
    """Decides for a job.

    Args:
        dense_weights: Trained numbers of the model apart from its tables.
        batch_size: Rows of a batch.
        own_kernels: Whether native operations can update variables where they live.

    Raises:
        UserError: HVDREC_OPS is none of its values, or the native operations are not built.
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
        reasons.append(f"{dense_weights} dense weights: rounded as EasyRec does")
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
    """What HVDREC_OPS asks for, for comparisons: ``native``, ``tensorflow``, or nothing.

    Raises:
        UserError: It is none of these.
    """
    named = os.environ.get("HVDREC_OPS", "")
    if named not in ("", NATIVE, TENSORFLOW):
        raise UserError(f"HVDREC_OPS={named}: must be native or tensorflow")
    return named
