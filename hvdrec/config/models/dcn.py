"""DCN in configs."""

from __future__ import annotations

from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.ranges import AT_LEAST_1


class DCNSpec(ModelSpec):
    """Group ``all``."""

    name = "DCN"
    block = "dcn"
    needs = {"all": False}
    order = ("all",)
    ranges = {"CrossTower.cross_num": AT_LEAST_1}
