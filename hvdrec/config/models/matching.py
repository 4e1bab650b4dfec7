"""The common base of matching models in configs: user and item towers, and their comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.expand import feature_list, feature_name
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
    """A model of users and items: point-wise, or list-wise with the other items of the batch as negatives.

    Attributes:
        widths: The fields of the block with a `DNN` that ends in the embedding's width.
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
        """The item groups; all others are user groups."""
        items = self.item_groups(proto)
        return {"user": [name for name in self.order if name not in items], "item": items}

    def kind_of(self, message: Any) -> str:
        """The last of `kinds` is for list-wise heads."""
        return self.kinds[-1] if enum_name(message, "loss_type") == LIST_WISE else self.kinds[0]

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """One head with the loss of `loss_type`; only ranking models have `losses`."""
        (head,) = super().heads(proto)
        model = proto.model_config
        kind = enum_name(model, "loss_type")
        message = loss_pb2.Loss(loss_type=model.loss_type)
        if kind == LIST_WISE and model.HasField("softmax_cross_entropy"):
            message.softmax_cross_entropy.CopyFrom(model.softmax_cross_entropy)
        loss = LossConfig(default_name(kind), message, f"{PATH}.loss_type", False)
        hard = (proto.data_config.WhichOneof("sampler") or "").startswith("hard")
        found = dataclasses.replace(head, losses=(loss,), item=self.item_id(model), hard_negatives=hard)
        return (dataclasses.replace(found, counted=self.counted_id(model)),)

    def item_id(self, model: Any) -> str:
        """The item id feature if equal items in a batch are not negatives, else ""."""
        if model.WhichOneof("model") != self.block or enum_name(model, "loss_type") != LIST_WISE:
            return ""
        block = self.config(model)
        ignored = getattr(block, "ignore_in_batch_neg_sam", False)
        return "" if ignored else str(getattr(block, "item_id", ""))

    def counted_id(self, model: Any) -> str:
        """The item id feature if `sampling_correction` counts items by it, else ""."""
        if model.WhichOneof("model") != self.block or enum_name(model, "loss_type") != LIST_WISE:
            return ""
        block = self.config(model)
        return str(getattr(block, "item_id", "")) if model.softmax_cross_entropy.sampling_correction else ""

    def check(self, check: ModelCheck) -> None:
        """Checks for one output and loss, towers of the same width, and an id column if items have ids."""
        check.need_one_class(self.name)
        block, model = check.block, check.model
        if model.losses:
            check.error(f"{PATH}.losses", f"{self.name} has a single loss; set loss_type instead")
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
        if list_wise and model.softmax_cross_entropy.sampling_correction:
            self._check_correction(check)
        alone = sampler_config(check.proto) is None and list_wise
        if alone and getattr(block, "ignore_in_batch_neg_sam", False):
            check.error(
                f"{check.path}.ignore_in_batch_neg_sam",
                "leaves no negatives without a sampler; set a sampler in "
                "data_config, such as negative_sampler",
            )

    def _check_correction(self, check: ModelCheck) -> None:
        """Checks that items can be counted."""
        path = f"{PATH}.softmax_cross_entropy.sampling_correction"
        item = str(getattr(check.block, "item_id", ""))
        if "item_id" not in check.block.DESCRIPTOR.fields_by_name:
            check.error(path, f"is not supported by {self.name}, which has no item_id to count items by")
        elif not item:
            check.error(path, f"counts items by their ids; {check.path}.item_id must name the feature")
        sampler = sampler_config(check.proto)
        name = check.proto.data_config.WhichOneof("sampler") or ""
        if name.startswith("hard"):
            check.error(path, f"is not defined for hard negatives, which data_config.{name} adds")
        elif item and sampler is not None:
            inputs = {feature_name(f): list(f.input_names) for f in feature_list(check.proto)}
            if inputs.get(item, [item])[0] not in sampler.attr_fields:
                check.error(
                    path, f"counts sampled items by {item!r}; add it to data_config.{name}.attr_fields"
                )


def _dnn(block: Any, name: str) -> Any:
    found = getattr(block, name)
    return found.dnn if hasattr(found, "dnn") else found


def check_widths(check: ModelCheck, towers: dict[str, Any]) -> None:
    """Checks that all towers have layers, and that the last ones have the same width."""
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
    """The ranges of numbers shared by all blocks of matching models."""
    return {f"{message}.temperature": STRENGTH_ABOVE_0}
