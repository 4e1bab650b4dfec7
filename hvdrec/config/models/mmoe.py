"""MMoE in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.multi_task import MultiTaskSpec


class MMoESpec(MultiTaskSpec):
    """Group ``all``; experts, and a tower per task."""

    name = "MMoE"
    block = "mmoe"
    silent = ("ExpertTower.expert_name",)

    def check(self, check: ModelCheck) -> None:
        """Checks that the experts exist and have the same width."""
        super().check(check)
        block, path = check.block, check.path
        if block.HasField("expert_dnn"):
            if not block.num_expert:
                check.error(f"{path}.num_expert", "must be above 0: it is the number of expert_dnn networks")
            if block.experts:
                check.report.warn(f"{path}.experts", "has no effect together with expert_dnn")
        elif not block.experts:
            check.error(path, "has no experts; set expert_dnn and num_expert")
        widths = [_width(expert.dnn) for expert in block.experts]
        if not block.HasField("expert_dnn") and len(set(widths)) > 1:
            check.error(
                f"{path}.experts",
                f"their DNNs must end in the same width, found {', '.join(map(str, widths))}",
            )


def _width(dnn: Any) -> int:
    return int(next(iter(dnn.hidden_units[-1:]), 0))
