"""RocketLaunching in configs."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.losses import default_name
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.heads import HeadConfig, loss_configs
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name

LIGHT, BOOSTER = "light", "booster"


class RocketLaunchingSpec(ModelSpec):
    """Group ``all``; a light net for serving, trained together with a booster net; one head each."""

    name = "RocketLaunching"
    block = "rocket_launching"
    needs = {"all": False}
    order = ("all",)
    kinds = ("logit", "softmax")
    distils = False

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """The heads of the light net and the booster; both have the model's label and metrics."""
        (head,) = super().heads(proto)
        return tuple(
            dataclasses.replace(
                head,
                name=name,
                losses=tuple(
                    dataclasses.replace(each, name=f"{default_name(each.kind)}_{name}")
                    for each in loss_configs(proto.model_config, PATH)
                ),
            )
            for name in (LIGHT, BOOSTER)
        )

    def check(self, check: ModelCheck) -> None:
        """Checks the loss, and that there are layers to compare if feature distillation is on."""
        kind = enum_name(check.model, "loss_type")
        if check.model.losses:
            check.error(
                f"{PATH}.losses", f"{self.name} has a single loss; set loss_type: CLASSIFICATION instead"
            )
        elif kind != "CLASSIFICATION":
            check.error(f"{PATH}.loss_type", f"{self.name} needs CLASSIFICATION, is {kind}")
        block = check.block
        if not block.feature_based_distillation:
            return
        function = enum_name(block, "feature_distillation_function")
        if function == "INNER_PRODUCT":
            check.error(
                f"{check.path}.feature_distillation_function", "must be COSINE or EUCLID, is INNER_PRODUCT"
            )
        if not similar_layers(block):
            check.error(
                f"{check.path}.feature_based_distillation",
                "no layer of light_dnn has the same width as a layer of "
                "booster_dnn, so there is nothing to compare",
            )


def similar_layers(block: Any) -> list[tuple[int, int]]:
    """Pairs of layers of light_dnn and booster_dnn: each with the first booster layer of its width."""
    booster = list(block.booster_dnn.hidden_units)
    return [(i, booster.index(w)) for i, w in enumerate(block.light_dnn.hidden_units) if w in booster]
