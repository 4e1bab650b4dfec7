"""MultiTowerDIN in configs."""

from __future__ import annotations

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.multi_tower import AttendingTowerSpec


class MultiTowerDINSpec(AttendingTowerSpec):
    """A group for each of `towers`, a `seq_att_groups` for each of `din_towers`."""

    name = "MultiTowerDIN"
    field = "din_towers"

    def check(self, check: ModelCheck) -> None:
        """Checks that the DNN of a tower ends with one number, the score."""
        super().check(check)
        for i, tower in enumerate(check.block.din_towers):
            if list(tower.dnn.hidden_units)[-1:] != [1]:
                check.error(
                    f"{check.path}.din_towers[{i}].dnn.hidden_units",
                    "must end with 1: the DNN computes one score for each element of the history",
                )
