"""DBMTL in configs."""

from __future__ import annotations

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.multi_task import ORDER_CALIBRATE, MultiTaskSpec, check_relations, tower_ranges

_NOT_YET = "is not supported yet; use bottom_dnn"


class DBMTLSpec(MultiTaskSpec):
    """Group ``all``; a tower per task, which can depend on earlier towers."""

    name = "DBMTL"
    block = "dbmtl"
    extra_losses = (ORDER_CALIBRATE,)
    ranges = tower_ranges("BayesTaskTower")
    refused = {"DBMTL.bottom_cmbf": _NOT_YET, "DBMTL.bottom_uniter": _NOT_YET}

    def check(self, check: ModelCheck) -> None:
        """Checks the experts, and that towers depend only on earlier ones."""
        super().check(check)
        block, path = check.block, check.path
        if block.HasField("expert_dnn") and not block.num_expert:
            check.error(f"{path}.num_expert", "must be above 0: it is the number of expert_dnn networks")
        if block.num_expert and not block.HasField("expert_dnn"):
            check.error(
                f"{path}.expert_dnn", "is missing, but num_expert is set; set expert_dnn or remove num_expert"
            )
        check_relations(check, block.task_towers)
