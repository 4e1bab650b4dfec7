"""DropoutNet in configs."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.losses import default_name
from hvdrec.config.models.check import GROUPS, PATH, ModelCheck
from hvdrec.config.models.heads import HeadConfig, LossConfig, loss_configs
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1, MARGIN, STRENGTH_ABOVE_0

NEGATIVE_MINING = "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING"
#: EasyRec's names of this model's losses.
_NAMES = {"CLASSIFICATION": "sigmoid_loss", "PAIR_WISE_LOSS": "pairwise_loss"}
_MINING = "SoftmaxCrossEntropyWithNegativeMining"


class DropoutNetSpec(ModelSpec):
    """For each of users and items, a group ``<side>_content``, ``<side>_preference``, or both."""

    name = "DropoutNet"
    block = "dropoutnet"
    kinds = ("two_towers",)
    distils = False
    extra_losses = (NEGATIVE_MINING,)
    ranges = {
        "DropoutNet.user_dropout_rate": BELOW_1,
        "DropoutNet.item_dropout_rate": BELOW_1,
        f"{_MINING}.num_negative_samples": AT_LEAST_1,
        f"{_MINING}.margin": MARGIN,
        f"{_MINING}.gamma": STRENGTH_ABOVE_0,
        f"{_MINING}.coefficient_of_support_vector": STRENGTH_ABOVE_0,
    }

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """One head of two towers; the block has the parameters of the negative-mining loss."""
        model = proto.model_config
        (head,) = super().heads(proto)
        named = loss_configs(model, PATH, lambda kind, given: given or _NAMES.get(kind, default_name(kind)))
        return (dataclasses.replace(head, losses=tuple(_with_parameters(each, model) for each in named)),)

    def check(self, check: ModelCheck) -> None:
        """Checks that both sides have groups, and towers of the same width."""
        check.need_one_class(self.name)
        widths = {}
        for side in ("user", "item"):
            wanted = (f"{side}_content", f"{side}_preference")
            if not any(name in check.groups for name in wanted):
                check.error(GROUPS, f"{self.name} needs a group {' or '.join(wanted)}, or both")
            units = list(getattr(check.block, f"{side}_tower").hidden_units)
            if units[-1:] in ([], [0]):
                check.error(f"{check.path}.{side}_tower.hidden_units", "must end with the embedding's width")
            else:
                widths[side] = units[-1]
        if len(set(widths.values())) > 1:
            check.error(
                f"{check.path}.item_tower.hidden_units",
                f"must end with the width of user_tower, {widths['user']}, is {widths['item']}",
            )
        _check_negative_mining(check)


def _with_parameters(config: LossConfig, model: Any) -> LossConfig:
    if config.kind != NEGATIVE_MINING or not model.dropoutnet.HasField("softmax_loss"):
        return config
    loss = type(config.loss)()
    loss.CopyFrom(config.loss)
    loss.softmax_loss.CopyFrom(model.dropoutnet.softmax_loss)
    return dataclasses.replace(config, loss=loss)


def _check_negative_mining(check: ModelCheck) -> None:
    model, block, path = check.model, check.block, check.path
    losses = [loss for loss in model.losses if enum_name(loss, "loss_type") == NEGATIVE_MINING]
    if not losses and (model.losses or enum_name(model, "loss_type") != NEGATIVE_MINING):
        return
    if not block.HasField("softmax_loss") and not all(
        loss.HasField("softmax_loss") for loss in losses or [block]
    ):
        check.error(path, f"{NEGATIVE_MINING} needs a block softmax_loss {{ num_negative_samples: ... }}")
    for i, loss in enumerate(model.losses):
        if loss.HasField("softmax_loss") and block.HasField("softmax_loss"):
            check.error(
                f"{PATH}.losses[{i}].softmax_loss", f"is also set in {path}.softmax_loss; keep one of them"
            )
