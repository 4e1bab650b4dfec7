"""MultiTower in configs, and the base it shares with classes that use attention over histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from hvdrec.config.models.attention import check_maps
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import hint

#: The towers that only one class has.
_OWN_TOWERS = {"din_towers": "MultiTowerDIN", "bst_towers": "MultiTowerBST"}


class TowerSpec(ModelSpec):
    """The base of classes with the block `multi_tower`: a group for each of `towers`, in their order."""

    block = "multi_tower"

    def group_order(self, model: Any) -> Iterable[str]:
        """The groups of the towers."""
        return [tower.input for tower in model.multi_tower.towers]

    def check(self, check: ModelCheck) -> None:
        """Checks that each tower has its own group and belongs to this class."""
        towers = check.block.towers
        for i, tower in enumerate(towers):
            path = f"{check.path}.towers[{i}].input"
            check.need_group(tower.input, path)
            if tower.input in check.groups and tower.input in [t.input for t in towers[:i]]:
                check.error(path, f"two towers have the input {tower.input!r}")
        for field, name in _OWN_TOWERS.items():
            if name != self.name and getattr(check.block, field):
                # EasyRec's MultiTower ignores them.
                tell = check.error if self.attention else check.report.warn
                tell(f"{check.path}.{field}", f'applies only to model_class: "{name}"')


class MultiTowerSpec(TowerSpec):
    """The groups of `towers` only."""

    name = "MultiTower"

    def check(self, check: ModelCheck) -> None:
        """Checks that there is a tower, and that each has its own group."""
        if not check.block.towers:
            check.error(check.path, "towers is empty")
        super().check(check)


class AttendingTowerSpec(TowerSpec):
    """A group for each of `towers`, a `seq_att_groups` for each tower with attention over histories.

    Attributes:
        field: The field with the attention towers.
    """

    field: ClassVar[str]
    attention = True

    def check(self, check: ModelCheck) -> None:
        """Checks that each attention tower has its own group, with keys as wide as histories."""
        super().check(check)
        towers, others = getattr(check.block, self.field), check.block.towers
        if not (towers or others):
            check.error(check.path, f"towers and {self.field} are empty")
        groups = {group.group_name: group for group in check.model.seq_att_groups}
        inputs = [tower.input for tower in (*others, *towers)]
        for i, tower in enumerate(towers):
            place = f"{check.path}.{self.field}[{i}].input"
            if tower.input not in groups:
                near = hint(tower.input, groups)
                check.error(place, f"no group of seq_att_groups is named {tower.input!r}; {near}")
            elif tower.input in inputs[: len(others) + i]:
                check.error(place, f"two towers have the input {tower.input!r}")
        self._check_groups(check, {tower.input for tower in towers})

    def _check_groups(self, check: ModelCheck, used: Iterable[str]) -> None:
        counts = Counter(group.group_name for group in check.model.seq_att_groups)
        for g, group in enumerate(check.model.seq_att_groups):
            path = f"{PATH}.seq_att_groups[{g}]"
            if counts[group.group_name] > 1:
                check.error(f"{path}.group_name", f"there are two groups named {group.group_name!r}")
            elif group.group_name not in used:
                check.error(
                    path,
                    f"no {self.field} has the input {group.group_name!r}; add one, or remove the group",
                )
            check_maps(check.report, group, path)
            for m, one in enumerate(group.seq_att_map):
                if one.aux_hist_seq:
                    check.error(
                        f"{path}.seq_att_map[{m}].aux_hist_seq", f"is not used by {self.field}; remove it"
                    )
            for field in ("seq_dnn", "need_key_feature", "allow_key_transform", "transform_dnn"):
                if group.HasField(field):
                    check.report.warn(f"{path}.{field}", f"has no effect on {self.field}, as in EasyRec")
