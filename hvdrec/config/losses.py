"""The losses that configs name, and what is known of each: one table for checks, docs and builders."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable

from hvdrec.config.protos import loss_pb2


class LogitMeaning(enum.Enum):
    """What the logit means under a loss."""

    PROBABILITY = "probs"
    VALUE = "y"
    SIGMOID_VALUE = "sigmoid y"
    EMBEDDING = "embedding"
    #: Three logits: a probability, and an amount where there is one.
    AMOUNT = "amount"


class Labels(enum.Enum):
    """Which labels a loss takes: the least and the greatest number."""

    ANY = (-math.inf, math.inf)
    #: Probabilities: any other number gives the loss no minimum.
    UNIT = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """A loss that configs can name; `hvdrec.losses.registry` has its code.

    Attributes:
        kind: The name of its `LossType`.
        given_name: Its name in logs where the config gives none; None: `kind` in small letters.
        param_field: The field of `Loss` with its parameters; None where it has none.
        output: What the logit means.
        many_classes: Whether it takes any `num_class`.
        labels: Which labels it takes with one class.
        own: Whether only the classes take it whose specs name it.
        num_class: The one that it takes, where it doesn't take any.
    """

    kind: str
    given_name: str | None = None
    param_field: str | None = None
    output: LogitMeaning = LogitMeaning.PROBABILITY
    many_classes: bool = False
    labels: Labels = Labels.ANY
    own: bool = False
    num_class: int = 1

    @property
    def name(self) -> str:
        """Its name in logs where the config gives none."""
        return self.given_name or self.kind.lower()


_VALUE, _EMBEDDING = LogitMeaning.VALUE, LogitMeaning.EMBEDDING
_UNIT = Labels.UNIT

SPECS: dict[str, LossSpec] = {
    spec.kind: spec
    for spec in (
        LossSpec("CLASSIFICATION", "cross_entropy_loss", many_classes=True, labels=_UNIT),
        LossSpec("L2_LOSS", "l2_loss", output=_VALUE),
        LossSpec("SIGMOID_L2_LOSS", "l2_loss", output=LogitMeaning.SIGMOID_VALUE, labels=_UNIT),
        LossSpec("CROSS_ENTROPY_LOSS", labels=_UNIT),
        LossSpec("BINARY_CROSS_ENTROPY_LOSS", labels=_UNIT),
        LossSpec("BINARY_FOCAL_LOSS", param_field="binary_focal_loss", labels=_UNIT),
        LossSpec("F1_REWEIGHTED_LOSS", param_field="f1_reweighted_loss", labels=_UNIT),
        LossSpec("PAIR_WISE_LOSS", param_field="pairwise_loss"),
        LossSpec("PAIRWISE_LOGISTIC_LOSS", param_field="pairwise_logistic_loss"),
        LossSpec("PAIRWISE_FOCAL_LOSS", param_field="pairwise_focal_loss"),
        LossSpec("PAIRWISE_HINGE_LOSS", param_field="pairwise_hinge_loss"),
        LossSpec("JRC_LOSS", param_field="jrc_loss", num_class=2),
        LossSpec("LISTWISE_RANK_LOSS", param_field="listwise_rank_loss"),
        LossSpec("LISTWISE_DISTILL_LOSS", param_field="listwise_distill_loss"),
        LossSpec("ZILN_LOSS", param_field="ziln_loss", output=LogitMeaning.AMOUNT, num_class=3),
        LossSpec("ORDER_CALIBRATE_LOSS", own=True),
        LossSpec("SOFTMAX_CROSS_ENTROPY", "cross_entropy_loss", own=True),
        LossSpec("SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING", "softmax_loss", "softmax_loss", own=True),
        LossSpec("CIRCLE_LOSS", param_field="circle_loss", output=_EMBEDDING, own=True),
        LossSpec("MULTI_SIMILARITY_LOSS", "ms_loss", "multi_simi_loss", output=_EMBEDDING, own=True),
    )
}

#: The loss of each row's own item among others.
LIST_WISE = "SOFTMAX_CROSS_ENTROPY"
#: Losses of a value, not of a probability.
ERROR_LOSSES = tuple(
    kind for kind, spec in SPECS.items() if spec.output in (LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE)
)


#: Losses that are no more than their own weight, whatever that of their tower.
WITHOUT_TOWER_WEIGHT = ("ORDER_CALIBRATE_LOSS",)

#: How JRC_LOSS weighs its two parts.
JRC_STRATEGIES = ("fixed", "random_uniform", "random_normal", "random_bernoulli", "uncertainty")

#: What the `transform_fn` of list-wise losses may name, by the last part of the dotted path.
TRANSFORMS = (
    *("abs", "exp", "expm1", "identity", "log", "log1p"),
    *("sigmoid", "sign", "sqrt", "square", "tanh"),
)

#: The losses that `kd` has a form of its own for, with logits, probabilities and a temperature.
DISTILLATION_FORMS = ("BINARY_CROSS_ENTROPY_LOSS", "KL_DIVERGENCE_LOSS", "CROSS_ENTROPY_LOSS")
#: The losses that `kd` takes, with the numbers a row of the prediction must have; 0: any.
DISTILLED_CLASSES = {
    **dict.fromkeys((*DISTILLATION_FORMS, *ERROR_LOSSES, "CLASSIFICATION"), 0),
    **dict.fromkeys(
        (
            *("BINARY_FOCAL_LOSS", "F1_REWEIGHTED_LOSS"),
            *("PAIR_WISE_LOSS", "PAIRWISE_FOCAL_LOSS", "PAIRWISE_LOGISTIC_LOSS", "PAIRWISE_HINGE_LOSS"),
            *("LISTWISE_RANK_LOSS", "LISTWISE_DISTILL_LOSS"),
        ),
        1,
    ),
    **{kind: SPECS[kind].num_class for kind in ("JRC_LOSS", "ZILN_LOSS")},
}


def loss_type_name(loss_type: int) -> str:
    """The name of a `LossType` value."""
    return str(loss_pb2.LossType.Name(loss_type))


def transform_name(path: str) -> str | None:
    """Which of `TRANSFORMS` a dotted path names, as ``tf.math.log1p``; None: none of them."""
    short = path.rpartition(".")[2]
    return short if short in TRANSFORMS and path.startswith((short, "tf.", "math.")) else None


def default_name(kind: str) -> str:
    """The name a loss has in logs where the config gives none.

    Args:
        kind: The name of its `LossType`.
    """
    return SPECS[kind].name if kind in SPECS else kind.lower()


def meanings(kinds: Iterable[str]) -> set[LogitMeaning]:
    """What the logit means under losses; one that isn't supported counts as one of probabilities.

    Args:
        kinds: The names of their `LossType`.
    """
    return {SPECS[kind].output if kind in SPECS else LogitMeaning.PROBABILITY for kind in kinds}
