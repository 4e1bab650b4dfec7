"""DSSM in configs."""

from __future__ import annotations

from hvdrec.config.models.matching import MatchSpec, ranges_of


class DSSMSpec(MatchSpec):
    """Groups `user` and `item`, one tower each."""

    name = "DSSM"
    block = "dssm"
    ranges = ranges_of("DSSM")
    silent = ("DSSMTower.id",)
