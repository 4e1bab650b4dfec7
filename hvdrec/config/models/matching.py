"""What the matching models have in common in configs: towers of users and items, and their comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.losses import LIST_WISE, default_name
from hvdrec.config.models.check import PATH, ModelCheck, check_id_column
from hvdrec.config.models.heads import HeadConfig, LossConfig
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name
from hvdrec.config.protos import loss_pb2
from hvdrec.config.ranges import STRENGTH_ABOVE_0, Range
from hvdrec.config.samplers import sampler_config

POINT_WISE = ("CLASSIFICATION", "L2_LOSS")


class MatchSpec(ModelSpec):
    """A model of users and items: point-wise, or list-wise with the batch's other items as negatives.

    Attributes:
        widths: The fields of the block whose `DNN` end in the embedding's width.
    """

    needs: ClassVar[Mapping[str, bool]] = {"user": False, "item": False}
    order: ClassVar[tuple[str, ...]] = ("user", "item")
    kinds: ClassVar[tuple[str, ...]] = ("logit", "match")
    extra_losses: ClassVar[tuple[str, ...]] = (LIST_WISE,)
    widths: ClassVar[tuple[str, ...]] = ("user_tower", "item_tower")

    def item_groups(self, proto: Any) -> Sequence[str]:
        """``item``."""
        del proto
        return ("item",)

    def sides(self, proto: Any) -> Mapping[str, Sequence[str]]:
        """The groups of items, and all others for users."""
        items = self.item_groups(proto)
        return {"user": [name for name in self.order if name not in items], "item": items}

    def kind_of(self, message: Any) -> str:
        """List-wise heads are of the last of `kinds`."""
        return self.kinds[-1] if enum_name(message, "loss_type") == LIST_WISE else self.kinds[0]

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """One head with the one loss of `loss_type`; `losses` are for models that rank."""
        (head,) = super().heads(proto)
        model = proto.model_config
        kind = enum_name(model, "loss_type")
        loss = LossConfig(
            default_name(kind), loss_pb2.Loss(loss_type=model.loss_type), f"{PATH}.loss_type", False
        )
        hard = (proto.data_config.WhichOneof("sampler") or "").startswith("hard")
        return (dataclasses.replace(head, losses=(loss,), item=self.item_id(model), hard_negatives=hard),)

    def item_id(self, model: Any) -> str:
        """The feature of the items' ids where equal items of a batch are no negatives, else ""."""
        if model.WhichOneof("model") != self.block or enum_name(model, "loss_type") != LIST_WISE:
            return ""
        block = self.config(model)
        ignored = getattr(block, "ignore_in_batch_neg_sam", False)
        return "" if ignored else str(getattr(block, "item_id", ""))

    def check(self, check: ModelCheck) -> None:
        """One output and loss, towers of one width, an id column where items have ids."""
        check.need_one_class(self.name)
        block, model = check.block, check.model
        if model.losses:
            check.error(f"{PATH}.losses", f"{self.name} has one loss: set loss_type")
        check_widths(check, {name: _dnn(block, name) for name in self.widths})
        if getattr(block, "item_id", ""):
            check_id_column(check.report, block.item_id, f"{check.path}.item_id")
        kind = enum_name(model, "loss_type")
        if kind not in (*POINT_WISE, LIST_WISE) and not self.only_losses:
            names = ", ".join((*POINT_WISE, LIST_WISE))
            check.error(f"{PATH}.loss_type", f"{self.name} needs one of {names}, is {kind}")
        list_wise = kind == LIST_WISE
        if sampler_config(check.proto) is not None and not list_wise:
            check.error(
                f"{PATH}.loss_type",
                f"a negative sampler needs loss_type: {LIST_WISE}, is {kind}",
            )
        alone = sampler_config(check.proto) is None and list_wise
        if alone and getattr(block, "ignore_in_batch_neg_sam", False):
            check.error(
                f"{check.path}.ignore_in_batch_neg_sam",
                "leaves no negatives without a sampler; set one of data_config, as negative_sampler",
            )


def _dnn(block: Any, name: str) -> Any:
    found = getattr(block, name)
    return found.dnn if hasattr(found, "dnn") else found


def check_widths(check: ModelCheck, towers: dict[str, Any]) -> None:
    """All towers must end in layers, the last of one width."""
    widths: dict[str, int] = {}
    for name, dnn in towers.items():
        units = list(dnn.hidden_units)
        if units[-1:] in ([], [0]):
            place = f"{check.path}.{name}{'.dnn' if name.endswith('tower') else ''}"
            check.error(f"{place}.hidden_units", "must end with the embedding's width")
        else:
            widths[name] = units[-1]
    if len(set(widths.values())) > 1:
        (first, width), *others = widths.items()
        name, other = next((n, w) for n, w in others if w != width)
        place = f"{check.path}.{name}{'.dnn' if name.endswith('tower') else ''}"
        check.error(f"{place}.hidden_units", f"must end with the width of {first}, {width}, is {other}")


def ranges_of(message: str) -> dict[str, Range]:
    """The ranges of numbers that all blocks of matching models have."""
    return {f"{message}.temperature": STRENGTH_ABOVE_0}
