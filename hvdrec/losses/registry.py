"""The loss of each `loss_type`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hvdrec.config.losses import SPECS, LossSpec, loss_type_name
from hvdrec.config.protos import loss_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses import (
    circle_loss,
    classification,
    cross_entropy,
    f1_reweighted,
    focal,
    jrc_loss,
    l2,
    listwise,
    multi_similarity_loss,
    order_calibrate,
    pair_wise_loss,
    pairwise_focal_loss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    softmax_cross_entropy,
    softmax_negative_mining,
    ziln,
)
from hvdrec.losses.base import Loss
from hvdrec.losses.parameters import check_numbers

#: Builders by the name of the `LossType`; `hvdrec.config.losses.SPECS` has their properties. Each builds the
#: loss from its parameter message (defaults if it isn't set; None for a loss without parameters) and
#: `num_class`.
BUILDERS: dict[str, Callable[[Any, int], Loss]] = {
    "CLASSIFICATION": classification.build,
    "L2_LOSS": l2.build,
    "SIGMOID_L2_LOSS": l2.build_sigmoid,
    "CROSS_ENTROPY_LOSS": cross_entropy.build,
    "BINARY_CROSS_ENTROPY_LOSS": cross_entropy.build_binary,
    "BINARY_FOCAL_LOSS": focal.build,
    "F1_REWEIGHTED_LOSS": f1_reweighted.build,
    "PAIR_WISE_LOSS": pair_wise_loss.build,
    "PAIRWISE_LOGISTIC_LOSS": pairwise_logistic_loss.build,
    "PAIRWISE_FOCAL_LOSS": pairwise_focal_loss.build,
    "PAIRWISE_HINGE_LOSS": pairwise_hinge_loss.build,
    "JRC_LOSS": jrc_loss.build,
    "LISTWISE_RANK_LOSS": listwise.build_rank,
    "LISTWISE_DISTILL_LOSS": listwise.build_distill,
    "ZILN_LOSS": ziln.build,
    "ORDER_CALIBRATE_LOSS": order_calibrate.build,
    "SOFTMAX_CROSS_ENTROPY": softmax_cross_entropy.build,
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": softmax_negative_mining.build,
    "CIRCLE_LOSS": circle_loss.build,
    "MULTI_SIMILARITY_LOSS": multi_similarity_loss.build,
}


def names() -> tuple[str, ...]:
    """The registered `LossType` names."""
    return tuple(BUILDERS)


def spec(loss_type: int) -> LossSpec:
    """The properties of the loss of a `LossType` value.

    Raises:
        ConfigError: The loss isn't supported.
    """
    name = loss_type_name(loss_type)
    if name not in SPECS:
        raise ConfigError(
            f"loss_type: {name} is not supported by this model; use one of {', '.join(names())}"
        )
    return SPECS[name]


def build(config: loss_pb2.Loss, num_class: int) -> Loss:
    """Builds a loss.

    Args:
        config: One element of `losses`.
        num_class: The model's number of classes.

    Returns:
        The loss, without its `weight`.

    Raises:
        ConfigError: The loss isn't supported, doesn't fit `num_class`, or a parameter is invalid.
    """
    found = spec(config.loss_type)
    type_name = found.kind
    if num_class != found.num_class and not found.many_classes:
        raise ConfigError(
            f"loss_type: {type_name} needs num_class: {found.num_class}, but num_class is {num_class}"
        )
    given = config.WhichOneof("loss_param")
    if found.param_field is None:
        return BUILDERS[type_name](None, num_class)
    if given is not None and given != found.param_field:
        raise ConfigError(
            f"{given}: does not belong to {type_name}; its parameters go into {found.param_field}"
        )
    parameters = getattr(config, found.param_field)
    try:
        check_numbers(parameters)
        return BUILDERS[type_name](parameters, num_class)
    except ConfigError as error:
        raise ConfigError(f"{found.param_field}.{error}") from None
