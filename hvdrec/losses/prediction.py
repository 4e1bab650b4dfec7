"""The meaning of a logit, given its losses."""

from __future__ import annotations

from collections.abc import Iterable

from hvdrec.config.losses import LogitMeaning
from hvdrec.losses.registry import spec


def outputs(loss_types: Iterable[int]) -> set[LogitMeaning]:
    """The meaning of the logit under these losses."""
    return {spec(t).output for t in loss_types}
