"""ESMM in configs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.heads import HeadConfig
from hvdrec.config.models.multi_task import MultiTaskSpec
from hvdrec.config.names import enum_name

#: The name of the product of both towers.
PRODUCT = "ctcvr"
_GROUP = "all"


class ESMMSpec(MultiTaskSpec):
    """The groups of `groups`, or group ``all``; a tower for clicks and one for conversions after a click.

    Four heads: those of the two towers, their product over all rows, and the second tower over the rows with
    a click, which only metrics use.
    """

    name = "ESMM"
    block = "esmm"
    needs = {}
    kinds = ("logit", "product", "after_click")
    distils = False

    def group_order(self, model: Any) -> Iterable[str]:
        """The groups of `groups`; if there are none, ``all``."""
        return [group.input for group in model.esmm.groups] or [_GROUP]

    def kind_of(self, message: Any) -> str:
        """Towers have one logit."""
        return "logit"

    def towers(self, model: Any) -> list[tuple[str, Any]]:
        """`cvr_tower` first: towers without label_name take the labels in this order."""
        return [(f"{PATH}.esmm.{name}", getattr(model.esmm, name)) for name in ("cvr_tower", "ctr_tower")]

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """The towers' heads, then the product's, then the one for metrics after a click."""
        towers = (
            dataclasses.replace(head, trained_by_losses=False, task_space=None)
            for head in super().heads(proto)
        )
        cvr, ctr = towers
        both = dataclasses.replace(cvr, gate=ctr.label, of=(cvr.name, ctr.name))
        product = dataclasses.replace(both, kind="product", name=PRODUCT)
        after = dataclasses.replace(both, kind="after_click", name=f"{cvr.name}_masked")
        return dataclasses.replace(cvr, metrics=()), ctr, product, after

    def check(self, check: ModelCheck) -> None:
        """Checks the groups, and that the towers use losses and fields that ESMM supports."""
        super().check(check)
        for i, group in enumerate(check.block.groups):
            path = f"{check.path}.groups[{i}].input"
            check.need_group(group.input, path)
            if group.input in [other.input for other in check.block.groups[:i]]:
                check.error(path, f"two groups have the input {group.input!r}")
        if not check.block.groups:
            check.need_group(_GROUP, f"{check.path}.groups")
        allowed = {"ctr_tower": ("CLASSIFICATION",), "cvr_tower": ("CLASSIFICATION", "L2_LOSS")}
        for field, losses in allowed.items():
            self._check_tower(check, getattr(check.block, field), f"{check.path}.{field}", losses)

    def _check_tower(self, check: ModelCheck, tower: Any, path: str, losses: tuple[str, ...]) -> None:
        kind = enum_name(tower, "loss_type")
        if kind not in losses:
            check.error(f"{path}.loss_type", f"needs {' or '.join(losses)}, is {kind}")
        if tower.num_class != 1:
            check.error(
                f"{path}.num_class",
                f"{self.name} must be 1, because {self.name} has one output per tower; is {tower.num_class}",
            )
        if tower.losses:
            check.error(f"{path}.losses", f"{self.name} has one loss per tower; set loss_type instead")
        if tower.tower_name == PRODUCT:
            check.error(
                f"{path}.tower_name",
                f"{PRODUCT!r} is reserved for the product of both towers; choose another name",
            )
        for name in ("task_space_indicator_label", "task_space_indicator_name"):
            if getattr(tower, name):
                check.report.warn(f"{path}.{name}", "has no effect in ESMM, as in EasyRec")
        if check.proto.data_config.sample_weight and tower.use_sample_weight and kind != "L2_LOSS":
            check.report.warn(
                f"{path}.use_sample_weight",
                "sample_weight has no effect on ESMM's cross entropies, as in EasyRec",
            )
