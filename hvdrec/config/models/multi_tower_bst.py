"""MultiTowerBST in configs."""

from __future__ import annotations

from hvdrec.config.models.attention import history_width
from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.multi_tower import AttendingTowerSpec
from hvdrec.config.ranges import AT_LEAST_1


class MultiTowerBSTSpec(AttendingTowerSpec):
    """A group for each of `towers`, a `seq_att_groups` for each of `bst_towers`."""

    name = "MultiTowerBST"
    field = "bst_towers"
    ranges = {"BSTTower.seq_len": AT_LEAST_1, "BSTTower.multi_head_size": AT_LEAST_1}

    def check(self, check: ModelCheck) -> None:
        """Checks that the towers are alike, because they share their weights."""
        super().check(check)
        towers = check.block.bst_towers
        groups = {group.group_name: group for group in check.model.seq_att_groups}
        widths = [history_width(check.proto, groups[t.input]) for t in towers if t.input in groups]
        shared = "bst_towers share the weights of their attention, so all of them need"
        if len(set(widths)) > 1:
            listed = " and ".join(map(str, sorted(set(widths))))
            check.error(f"{check.path}.bst_towers", f"{shared} histories of the same width, found {listed}")
        for i, tower in enumerate(towers):
            if tower.multi_head_size != towers[0].multi_head_size:
                check.error(
                    f"{check.path}.bst_towers[{i}].multi_head_size",
                    f"{shared} the same multi_head_size, found {tower.multi_head_size} "
                    f"and {towers[0].multi_head_size}",
                )
