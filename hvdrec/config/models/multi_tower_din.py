"""MultiTowerDIN in configs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.multi_tower import TowerSpec
from hvdrec.config.names import hint

_GROUPS = f"{PATH}.seq_att_groups"


class MultiTowerDINSpec(TowerSpec):
    """A group for each of `towers`, a `seq_att_groups` for each of `din_towers`."""

    name = "MultiTowerDIN"
    attention = True

    def check(self, check: ModelCheck) -> None:
        """Each DIN tower has an attention group of its own, with keys and histories of one width."""
        super().check(check)
        block, path = check.block, check.path
        if not (block.towers or block.din_towers):
            check.error(path, "towers and din_towers are empty")
        groups = {group.group_name: group for group in check.model.seq_att_groups}
        inputs = [tower.input for tower in (*block.towers, *block.din_towers)]
        for i, tower in enumerate(block.din_towers):
            place = f"{path}.din_towers[{i}]"
            if tower.input not in groups:
                near = hint(tower.input, groups)
                check.error(f"{place}.input", f"no group of seq_att_groups is named {tower.input!r}; {near}")
            elif tower.input in inputs[: len(block.towers) + i]:
                check.error(f"{place}.input", f"two towers have the input {tower.input!r}")
            if list(tower.dnn.hidden_units)[-1:] != [1]:
                check.error(
                    f"{place}.dnn.hidden_units",
                    "must end with 1: the DNN gives each element of the history its score",
                )
        _check_groups(check, {tower.input for tower in block.din_towers})


def _check_groups(check: ModelCheck, used: Iterable[str]) -> None:
    widths = {feature_name(f): int(f.embedding_dim or f.raw_input_dim) for f in feature_list(check.proto)}
    counts = Counter(group.group_name for group in check.model.seq_att_groups)
    for g, group in enumerate(check.model.seq_att_groups):
        path = f"{_GROUPS}[{g}]"
        if counts[group.group_name] > 1:
            check.error(f"{path}.group_name", f"there are two groups named {group.group_name!r}")
        elif group.group_name not in used:
            check.error(
                path, f"no din_towers has the input {group.group_name!r}; add one, or remove the group"
            )
        _check_features(check, group, path, widths)
        for field in ("seq_dnn", "need_key_feature", "allow_key_transform", "transform_dnn"):
            if group.HasField(field):
                check.report.warn(f"{path}.{field}", "has no effect on din_towers, as in EasyRec")


def _check_features(check: ModelCheck, group: Any, path: str, widths: dict[str, int]) -> None:
    """The features are there, and keys as wide as histories."""
    known = True
    for m, one in enumerate(group.seq_att_map):
        for field in ("key", "hist_seq"):
            for i, name in enumerate(getattr(one, field)):
                if name not in widths:
                    known = False
                    place = f"{path}.seq_att_map[{m}].{field}[{i}]"
                    check.error(place, f"no feature is named {name!r}; {check.report.hint(name, widths)}")
        if one.aux_hist_seq:
            check.error(f"{path}.seq_att_map[{m}].aux_hist_seq", "is not used by din_towers; remove it")
    keys, histories = (
        [(name, widths.get(name, 0)) for one in group.seq_att_map for name in getattr(one, field)]
        for field in ("key", "hist_seq")
    )
    if not keys or not histories:
        check.error(path, f"seq_att_map has no {'hist_seq' if keys else 'key'}")
    elif known and _sum(keys) != _sum(histories):
        check.error(path, f"keys and histories must be of one width: {_added(keys)}, {_added(histories)}")


def _sum(widths: Sequence[tuple[str, int]]) -> int:
    return sum(width for _, width in widths)


def _added(widths: Sequence[tuple[str, int]]) -> str:
    """Features with their widths and the sum."""
    each = " + ".join(f"{name} ({width})" for name, width in widths)
    return each if len(widths) == 1 else f"{each} = {_sum(widths)}"
