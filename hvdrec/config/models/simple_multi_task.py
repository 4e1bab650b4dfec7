"""SimpleMultiTask in configs."""

from __future__ import annotations

from hvdrec.config.models.multi_task import MultiTaskSpec


class SimpleMultiTaskSpec(MultiTaskSpec):
    """Group ``all``; a tower per task."""

    name = "SimpleMultiTask"
    block = "simple_multi_task"
