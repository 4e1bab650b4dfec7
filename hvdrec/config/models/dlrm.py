"""DLRM in configs."""

from __future__ import annotations

from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name


class DLRMSpec(ModelSpec):
    """Groups ``dense`` and ``sparse``."""

    name = "DLRM"
    block = "dlrm"
    needs = {"dense": False, "sparse": False}
    order = ("sparse", "dense")

    def check(self, check: ModelCheck) -> None:
        """Checks for one output, and with dots that the bottom network is as wide as the embeddings."""
        check.need_one_class(self.name)
        operation = check.block.arch_interaction_op
        if operation not in ("dot", "cat"):
            check.error(f"{check.path}.arch_interaction_op", f"must be 'dot' or 'cat', is {operation!r}")
        if "sparse" in check.groups and enum_name(check.groups["sparse"], "wide_deep") == "WIDE":
            check.error(GROUPS, f"{self.name} needs group 'sparse' with wide_deep: DEEP")
        elif operation == "dot" and {"sparse", "dense"} <= check.groups.keys():
            _check_bottom(check)


def _check_bottom(check: ModelCheck) -> None:
    units = [u for u in check.block.bot_dnn.hidden_units if u]
    last = units[-1] if units else sum(check.widths("dense").values())
    wrong = {n: w for n, w in check.widths("sparse").items() if w != last}
    if wrong:
        name, width = next(iter(wrong.items()))
        check.error(
            f"{check.path}.bot_dnn.hidden_units",
            f"the last width ({last}) must be the embedding_dim of the features in group 'sparse'; "
            f"{name} has {width}",
        )
