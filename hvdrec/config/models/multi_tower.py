"""MultiTower in configs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.spec import ModelSpec


class TowerSpec(ModelSpec):
    """What classes with the block `multi_tower` share: a group for each of `towers`, in their order."""

    block = "multi_tower"
    refused = {"MultiTower.bst_towers": "is not supported yet; remove it"}

    def group_order(self, model: Any) -> Iterable[str]:
        """The groups of the towers."""
        return [tower.input for tower in model.multi_tower.towers]

    def check(self, check: ModelCheck) -> None:
        """Each tower has a group of its own."""
        towers = check.block.towers
        for i, tower in enumerate(towers):
            path = f"{check.path}.towers[{i}].input"
            check.need_group(tower.input, path)
            if tower.input in check.groups and tower.input in [t.input for t in towers[:i]]:
                check.error(path, f"two towers have the input {tower.input!r}")


class MultiTowerSpec(TowerSpec):
    """Nothing but `towers`."""

    name = "MultiTower"

    def check(self, check: ModelCheck) -> None:
        """There is a tower, and each has a group of its own."""
        if not check.block.towers:
            check.error(check.path, "towers is empty")
        if check.block.din_towers:
            check.report.warn(
                f"{check.path}.din_towers",
                'has no effect; is for model_class: "MultiTowerDIN"',
            )
        super().check(check)
