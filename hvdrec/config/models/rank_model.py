"""RankModel in configs: a backbone with one output."""

from __future__ import annotations

from hvdrec.config.backbone.check import Described
from hvdrec.config.layers.shapes import described as shown
from hvdrec.config.models.backbone import BackboneSpec
from hvdrec.config.models.check import PATH, ModelCheck


class RankModelSpec(BackboneSpec):
    """A `backbone` that returns [batch, columns], and a layer to `num_class` outputs if needed."""

    name = "RankModel"

    def check_outputs(self, check: ModelCheck, described: Described) -> None:
        """Checks that the backbone returns one tensor of columns."""
        if not isinstance(described.outputs, int):
            check.error(
                f"{PATH}.backbone",
                f"{self.name} needs one output [batch, columns], but the backbone returns "
                f"{shown(described.outputs)}; set concat_blocks or top_mlp",
            )
