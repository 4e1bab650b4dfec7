"""What configs call losses, and where their parameters are: one table for checks and builders."""

from __future__ import annotations

from hvdrec.config.protos import loss_pb2

#: The field of `Loss` with a loss's parameters, of those that have any.
PARAMETERS = {
    "F1_REWEIGHTED_LOSS": "f1_reweighted_loss",
    "BINARY_FOCAL_LOSS": "binary_focal_loss",
    "PAIR_WISE_LOSS": "pairwise_loss",
    "PAIRWISE_FOCAL_LOSS": "pairwise_focal_loss",
    "PAIRWISE_LOGISTIC_LOSS": "pairwise_logistic_loss",
    "PAIRWISE_HINGE_LOSS": "pairwise_hinge_loss",
    "JRC_LOSS": "jrc_loss",
    "LISTWISE_RANK_LOSS": "listwise_rank_loss",
    "LISTWISE_DISTILL_LOSS": "listwise_distill_loss",
    "ZILN_LOSS": "ziln_loss",
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": "softmax_loss",
    "CIRCLE_LOSS": "circle_loss",
    "MULTI_SIMILARITY_LOSS": "multi_simi_loss",
}

_NAMES = {
    "CLASSIFICATION": "cross_entropy_loss",
    "L2_LOSS": "l2_loss",
    "SIGMOID_L2_LOSS": "l2_loss",
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": "softmax_loss",
    "MULTI_SIMILARITY_LOSS": "ms_loss",
}

#: Losses of a value, not of a probability.
ERROR_LOSSES = ("L2_LOSS", "SIGMOID_L2_LOSS")
#: Losses that take more than one class.
MULTI_CLASS = ("CLASSIFICATION",)
#: Losses that take so many classes and no other number, which isn't 1.
CLASSES = {"JRC_LOSS": 2, "ZILN_LOSS": 3}
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
    **dict.fromkeys((*DISTILLATION_FORMS, *ERROR_LOSSES, *MULTI_CLASS), 0),
    **dict.fromkeys(
        (
            *("BINARY_FOCAL_LOSS", "F1_REWEIGHTED_LOSS"),
            *("PAIR_WISE_LOSS", "PAIRWISE_FOCAL_LOSS", "PAIRWISE_LOGISTIC_LOSS", "PAIRWISE_HINGE_LOSS"),
            *("LISTWISE_RANK_LOSS", "LISTWISE_DISTILL_LOSS"),
        ),
        1,
    ),
    **CLASSES,
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
    return _NAMES.get(kind, kind.lower())
