"""What a logit means, given the losses it is trained by."""

from __future__ import annotations

from collections.abc import Iterable

from hvdrec.config.losses import LogitMeaning
from hvdrec.losses.registry import spec


def outputs(loss_types: Iterable[int]) -> set[LogitMeaning]:
    """What the logit means under these losses."""
    return {spec(t).output for t in loss_types}
