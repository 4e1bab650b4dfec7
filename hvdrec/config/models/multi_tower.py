"""MultiTower in configs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.spec import ModelSpec

_NOT_YET = "is not supported yet; use towers"


class MultiTowerSpec(ModelSpec):
    """A group for each of `towers`, in their order."""

    name = "MultiTower"
    block = "multi_tower"
    refused = {"MultiTower.din_towers": _NOT_YET, "MultiTower.bst_towers": _NOT_YET}

    def group_order(self, model: Any) -> Iterable[str]:
        """The groups of the towers."""
        return [tower.input for tower in model.multi_tower.towers]

    def check(self, check: ModelCheck) -> None:
        """Each tower has a group of its own."""
        towers = check.block.towers
        if not towers:
            check.error(check.path, "towers is empty")
        for i, tower in enumerate(towers):
            path = f"{check.path}.towers[{i}].input"
            check.need_group(tower.input, path)
            if tower.input in check.groups and tower.input in [t.input for t in towers[:i]]:
                check.error(path, f"two towers have the input {tower.input!r}")
