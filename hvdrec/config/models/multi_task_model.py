"""MultiTaskModel in configs: a backbone with a tower per task."""

from __future__ import annotations

from hvdrec.config.backbone.check import Described
from hvdrec.config.layers.shapes import described as shown
from hvdrec.config.models.backbone import BackboneSpec
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.multi_task import ORDER_CALIBRATE, MultiTaskSpec, check_relations, tower_ranges


class MultiTaskModelSpec(BackboneSpec, MultiTaskSpec):
    """A `backbone` that returns one input for all towers or one for each, and `task_towers`."""

    name = "MultiTaskModel"
    extra_losses = (ORDER_CALIBRATE,)
    needs = {}
    order = ()
    ranges = tower_ranges("BayesTaskTower")
    reads = ("l2_regularization", "task_towers")

    def check(self, check: ModelCheck) -> None:
        """Checks the towers and the backbone."""
        MultiTaskSpec.check(self, check)
        check_relations(check, check.block.task_towers)
        BackboneSpec.check(self, check)

    def check_outputs(self, check: ModelCheck, described: Described) -> None:
        """Checks that the backbone returns one tensor of columns, or one for each tower."""
        given, towers = described.outputs, len(check.block.task_towers)
        outputs = given if isinstance(given, list) else [given]
        if isinstance(given, list) and len(given) != towers:
            check.error(
                f"{PATH}.backbone",
                f"returns {len(given)} outputs for {towers} task_towers; return "
                "one output, or one for each tower",
            )
        elif not all(isinstance(width, int) for width in outputs):
            check.error(
                f"{PATH}.backbone",
                f"{self.name} needs outputs [batch, columns], but the backbone returns {shown(given)}",
            )
