"""DBMTL in configs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.cmbf import check_fusion
from hvdrec.config.models.modalities import GROUPS_OF_TOKENS, TEXT
from hvdrec.config.models.multi_task import ORDER_CALIBRATE, MultiTaskSpec, check_relations, tower_ranges
from hvdrec.config.models.uniter import check_transformer

#: The bottoms over other groups; the first one is used, as in EasyRec.
_FUSIONS = {"bottom_cmbf": check_fusion, "bottom_uniter": check_transformer}


class DBMTLSpec(MultiTaskSpec):
    """Group ``all``, or images and text; a tower per task, which can depend on earlier towers."""

    name = "DBMTL"
    block = "dbmtl"
    extra_losses = (ORDER_CALIBRATE,)
    ranges = tower_ranges("BayesTaskTower")
    sequence_groups = (TEXT,)

    def needed_groups(self, model: Any) -> Mapping[str, bool]:
        """See `ModelSpec`."""
        return {} if self._fusion(model) else super().needed_groups(model)

    def group_order(self, model: Any) -> Iterable[str]:
        """See `ModelSpec`."""
        return GROUPS_OF_TOKENS if self._fusion(model) else super().group_order(model)

    def _fusion(self, model: Any) -> str:
        """The bottom over images and text, if there is one."""
        return next((field for field in _FUSIONS if self.config(model).HasField(field)), "")

    def check(self, check: ModelCheck) -> None:
        """Checks the experts, that towers depend only on earlier ones, and that there is one bottom."""
        super().check(check)
        block, path = check.block, check.path
        fusion = self._fusion(check.model)
        if fusion:
            _FUSIONS[fusion](check, getattr(block, fusion), f"{path}.{fusion}")
        for field in ("bottom_uniter", "bottom_dnn"):
            if fusion and field != fusion and block.HasField(field):
                check.report.warn(f"{path}.{field}", f"has no effect together with {fusion}, as in EasyRec")
        if block.HasField("expert_dnn") and not block.num_expert:
            check.error(f"{path}.num_expert", "must be above 0: it is the number of expert_dnn networks")
        if block.num_expert and not block.HasField("expert_dnn"):
            check.error(
                f"{path}.expert_dnn", "is missing, but num_expert is set; set expert_dnn or remove num_expert"
            )
        check_relations(check, block.task_towers)
