"""Which loss each `loss_type` builds."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any

from hvdrec.config.protos import loss_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses import (
    circle_loss,
    classification,
    cross_entropy,
    f1_reweighted,
    focal,
    jrc,
    l2,
    listwise,
    multi_similarity_loss,
    order_calibrate,
    pair_wise_loss,
    pairwise_focal_loss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    softmax_negative_mining,
    ziln,
)
from hvdrec.losses.base import Loss


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
class LossEntry:
    """A registered loss.

    Attributes:
        build: Makes the loss from its parameter message (defaults where it isn't set; None for a
            loss without parameters) and `num_class`.
        param_field: The field of `Loss` with its parameters; None where it has none.
        name: Its default name in the loss dict.
        output: What the logit means.
        many_classes: Whether it takes any `num_class`.
        num_class: The one that it takes where it doesn't.
        labels: Which labels it takes with one class.
    """

    build: Callable[[Any, int], Loss]
    param_field: str | None
    name: str
    output: LogitMeaning
    many_classes: bool
    labels: Labels
    num_class: int


_ENTRIES: dict[str, LossEntry] = {}


def register(
    loss_type: str,
    build: Callable[[Any, int], Loss],
    *,
    param_field: str | None = None,
    name: str | None = None,
    output: LogitMeaning = LogitMeaning.PROBABILITY,
    many_classes: bool = False,
    labels: Labels = Labels.ANY,
    num_class: int = 1,
) -> None:
    """Registers a loss under the name of its `LossType`; see `LossEntry` for the arguments."""
    loss_pb2.LossType.Value(loss_type)
    if loss_type in _ENTRIES:
        raise ValueError(f"loss {loss_type} is registered twice")
    _ENTRIES[loss_type] = LossEntry(
        build, param_field, name or loss_type.lower(), output, many_classes, labels, num_class
    )


register(
    "CLASSIFICATION",
    classification.build,
    name="cross_entropy_loss",
    many_classes=True,
    labels=Labels.UNIT,
)
register("L2_LOSS", l2.build, name="l2_loss", output=LogitMeaning.VALUE)
register(
    "SIGMOID_L2_LOSS",
    l2.build_sigmoid,
    name="l2_loss",
    output=LogitMeaning.SIGMOID_VALUE,
    labels=Labels.UNIT,
)
register("CROSS_ENTROPY_LOSS", cross_entropy.build, labels=Labels.UNIT)
register("BINARY_CROSS_ENTROPY_LOSS", cross_entropy.build_binary, labels=Labels.UNIT)
register("BINARY_FOCAL_LOSS", focal.build, param_field="binary_focal_loss", labels=Labels.UNIT)
register("F1_REWEIGHTED_LOSS", f1_reweighted.build, param_field="f1_reweighted_loss", labels=Labels.UNIT)
register("PAIR_WISE_LOSS", pair_wise_loss.build, param_field="pairwise_loss")
register("PAIRWISE_LOGISTIC_LOSS", pairwise_logistic_loss.build, param_field="pairwise_logistic_loss")
register("PAIRWISE_FOCAL_LOSS", pairwise_focal_loss.build, param_field="pairwise_focal_loss")
register("PAIRWISE_HINGE_LOSS", pairwise_hinge_loss.build, param_field="pairwise_hinge_loss")
register("LISTWISE_RANK_LOSS", listwise.build_rank, param_field="listwise_rank_loss")
register("LISTWISE_DISTILL_LOSS", listwise.build_distill, param_field="listwise_distill_loss")
register("JRC_LOSS", jrc.build, param_field="jrc_loss", num_class=2)
register("ZILN_LOSS", ziln.build, param_field="ziln_loss", output=LogitMeaning.AMOUNT, num_class=3)
register("ORDER_CALIBRATE_LOSS", order_calibrate.build)
register(
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING",
    softmax_negative_mining.build,
    param_field="softmax_loss",
    name="softmax_loss",
)
register("CIRCLE_LOSS", circle_loss.build, param_field="circle_loss", output=LogitMeaning.EMBEDDING)
register(
    "MULTI_SIMILARITY_LOSS",
    multi_similarity_loss.build,
    param_field="multi_simi_loss",
    name="ms_loss",
    output=LogitMeaning.EMBEDDING,
)


def names() -> tuple[str, ...]:
    """The registered `LossType` names."""
    return tuple(_ENTRIES)


def entry(loss_type: int) -> LossEntry:
    """The registered loss of a `LossType` value.

    Raises:
        ConfigError: It isn't supported.
    """
    name = loss_pb2.LossType.Name(loss_type)
    if name not in _ENTRIES:
        raise ConfigError(
            f"loss_type: {name} is not supported by this model; take one of {', '.join(names())}"
        )
    return _ENTRIES[name]


def build(config: loss_pb2.Loss, num_class: int) -> Loss:
    """Builds a loss.

    Args:
        config: One element of `losses`.
        num_class: The model's number of classes.

    Returns:
        The loss, its `weight` not applied.

    Raises:
        ConfigError: It isn't supported, doesn't fit `num_class`, or a parameter is wrong.
    """
    found = entry(config.loss_type)
    type_name = loss_pb2.LossType.Name(config.loss_type)
    if num_class != found.num_class and not found.many_classes:
        raise ConfigError(
            f"loss_type: {type_name} needs num_class: {found.num_class}, but num_class is {num_class}"
        )
    given = config.WhichOneof("loss_param")
    if found.param_field is None:
        return found.build(None, num_class)
    if given is not None and given != found.param_field:
        raise ConfigError(
            f"{given}: does not belong to {type_name}; its parameters go into {found.param_field}"
        )
    try:
        return found.build(getattr(config, found.param_field), num_class)
    except ConfigError as error:
        raise ConfigError(f"{found.param_field}.{error}") from None
