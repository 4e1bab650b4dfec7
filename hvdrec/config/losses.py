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
    "SOFTMAX_CROSS_ENTROPY": "cross_entropy_loss",
    "L2_LOSS": "l2_loss",
    "SIGMOID_L2_LOSS": "l2_loss",
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": "softmax_loss",
    "MULTI_SIMILARITY_LOSS": "ms_loss",
}

#: Losses of a value, not of a probability.
ERROR_LOSSES = ("L2_LOSS", "SIGMOID_L2_LOSS")
#: Losses that take more than one class.
MULTI_CLASS = ("CLASSIFICATION",)


def loss_type_name(loss_type: int) -> str:
    """The name of a `LossType` value."""
    return str(loss_pb2.LossType.Name(loss_type))


def default_name(kind: str) -> str:
    """The name a loss has in logs where the config gives none.

    Args:
        kind: The name of its `LossType`.
    """
    return _NAMES.get(kind, kind.lower())
