"""RankModel in configs: a backbone with one output."""

from __future__ import annotations

from hvdrec.config.backbone.check import Described
from hvdrec.config.layers.shapes import described as shown
from hvdrec.config.models.backbone import BackboneSpec
from hvdrec.config.models.check import PATH, ModelCheck


class RankModelSpec(BackboneSpec):
    """A `backbone` that gives [batch, columns], and a layer with `num_class` outputs where it has others."""

    name = "RankModel"

    def check_outputs(self, check: ModelCheck, described: Described) -> None:
        """The backbone gives one tensor of columns."""
        if not isinstance(described.outputs, int):
            check.error(
                f"{PATH}.backbone",
                f"{self.name} needs one output [batch, columns], the backbone gives "
                f"{shown(described.outputs)}; set concat_blocks or top_mlp",
            )
