"""DAT in configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hvdrec.config.losses import LIST_WISE
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.models.matching import MatchSpec, ranges_of
from hvdrec.config.ranges import STRENGTH


class DATSpec(MatchSpec):
    """Groups `user` and `item`, one tower each; `user_id_augment`, `item_id_augment`, as wide as these."""

    name = "DAT"
    block = "dat"
    needs = dict.fromkeys(("user", "user_id_augment", "item", "item_id_augment"), False)
    order = tuple(needs)
    kinds = ("match",)
    only_losses = (LIST_WISE,)
    extra_losses = ()
    ignored = {"DAT.simi_func": "has no effect, as in EasyRec: DAT compares by cosine"}
    ranges = {**ranges_of("DAT"), "DAT.amm_u_weight": STRENGTH, "DAT.amm_i_weight": STRENGTH}
    silent = ("DATTower.id",)

    def item_groups(self, proto: Any) -> Sequence[str]:
        """``item`` and ``item_id_augment``."""
        del proto
        return ("item", "item_id_augment")

    def check(self, check: ModelCheck) -> None:
        """Checks that the augmented vectors are as wide as the towers."""
        super().check(check)
        for side in ("user", "item"):
            units = list(getattr(check.block, f"{side}_tower").dnn.hidden_units)
            name = f"{side}_id_augment"
            width = sum(check.widths(name).values())
            if units and name in check.groups and width != units[-1]:
                check.error(
                    GROUPS,
                    f"group {name!r} has {width} columns; it must have as many "
                    "as the last layers of the towers, "
                    f"{units[-1]}",
                )
