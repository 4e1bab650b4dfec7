"""Losses that a config can name, and their properties: one table for checks, docs and builders."""

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
    #: Three logits: the probability of an amount above 0, and the amount's distribution.
    AMOUNT = "amount"


class Labels(enum.Enum):
    """The labels that a loss accepts: the smallest and the largest number."""

    ANY = (-math.inf, math.inf)
    #: Probabilities: with any other number the loss has no minimum.
    UNIT = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """A loss that a config can name; `hvdrec.losses.registry` has its code.

    Attributes:
        kind: The name of its `LossType`.
        given_name: Its name in logs if the config gives none; None means `kind` in lower case.
        param_field: The field of `Loss` with its parameters; None if it has none.
        output: What the logit means.
        many_classes: Whether it accepts any `num_class`.
        labels: The labels that it accepts with one class.
        own: Whether only model classes that name it in their spec accept it.
        num_class: The only value that it accepts, unless it accepts any.
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
        """Its name in logs if the config gives none."""
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
        LossSpec("SOFTMAX_CROSS_ENTROPY", "cross_entropy_loss", "softmax_cross_entropy", own=True),
        LossSpec("SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING", "softmax_loss", "softmax_loss", own=True),
        LossSpec("CIRCLE_LOSS", param_field="circle_loss", output=_EMBEDDING, own=True),
        LossSpec("MULTI_SIMILARITY_LOSS", "ms_loss", "multi_simi_loss", output=_EMBEDDING, own=True),
    )
}

#: The softmax loss of each row's own item against other items.
LIST_WISE = "SOFTMAX_CROSS_ENTROPY"
#: Losses of a predicted value instead of a probability.
ERROR_LOSSES = tuple(
    kind for kind, spec in SPECS.items() if spec.output in (LogitMeaning.VALUE, LogitMeaning.SIGMOID_VALUE)
)


#: Losses weighted only by their own weight, regardless of the tower's.
WITHOUT_TOWER_WEIGHT = ("ORDER_CALIBRATE_LOSS",)

#: How JRC_LOSS weighs its two parts.
JRC_STRATEGIES = ("fixed", "random_uniform", "random_normal", "random_bernoulli", "uncertainty")

#: Functions that `transform_fn` of list-wise losses can name, by the last part of the dotted path.
TRANSFORMS = (
    *("abs", "exp", "expm1", "identity", "log", "log1p"),
    *("sigmoid", "sign", "sqrt", "square", "tanh"),
)

#: Losses that have a special form in `kd`, with logits, probabilities and a temperature.
DISTILLATION_FORMS = ("BINARY_CROSS_ENTROPY_LOSS", "KL_DIVERGENCE_LOSS", "CROSS_ENTROPY_LOSS")
#: Losses that `kd` accepts, with the required columns of the prediction; 0 means any.
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
    """The name in `TRANSFORMS` of a dotted path such as ``tf.math.log1p``; None if it isn't there."""
    short = path.rpartition(".")[2]
    return short if short in TRANSFORMS and path.startswith((short, "tf.", "math.")) else None


def default_name(kind: str) -> str:
    """The name of a loss in logs if the config gives none.

    Args:
        kind: The name of its `LossType`.
    """
    return SPECS[kind].name if kind in SPECS else kind.lower()


def meanings(kinds: Iterable[str]) -> set[LogitMeaning]:
    """What the logit means under losses; an unsupported loss counts as a loss of probabilities.

    Args:
        kinds: The names of their `LossType`.
    """
    return {SPECS[kind].output if kind in SPECS else LogitMeaning.PROBABILITY for kind in kinds}
