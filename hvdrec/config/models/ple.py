"""PLE in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.multi_task import MultiTaskSpec, tower_ranges
from hvdrec.config.ranges import AT_LEAST_1


class PLESpec(MultiTaskSpec):
    """Group ``all``; layers of task-specific and shared experts, then a tower per task."""

    name = "PLE"
    block = "ple"
    ranges = {**tower_ranges("TaskTower"), "ExtractionNetwork.expert_num_per_task": AT_LEAST_1}

    def check(self, check: ModelCheck) -> None:
        """Checks that network names are unique, and that the experts of each network have the same width."""
        super().check(check)
        networks = check.block.extraction_networks
        if not networks:
            check.error(f"{check.path}.extraction_networks", "is empty")
        for i, network in enumerate(networks):
            path = f"{check.path}.extraction_networks[{i}]"
            name = network.network_name
            if not name:
                check.error(f"{path}.network_name", "is missing")
            elif name in [other.network_name for other in networks[:i]]:
                check.error(f"{path}.network_name", f"two networks are named {name!r}")
            self._check_experts(check, network, path)

    def _check_experts(self, check: ModelCheck, network: Any, path: str) -> None:
        if not network.share_num:
            if network.HasField("share_expert_net"):
                check.error(
                    f"{path}.share_num", "must be above 0: it is the number of share_expert_net networks"
                )
            return
        if not network.HasField("share_expert_net"):
            check.error(
                f"{path}.share_expert_net",
                "is missing, but share_num is set; set share_expert_net or remove share_num",
            )
            return
        widths = [list(net.hidden_units[-1:]) for net in (network.task_expert_net, network.share_expert_net)]
        if widths[0] != widths[1]:
            check.error(
                f"{path}.share_expert_net.hidden_units",
                f"must end with the width of task_expert_net, {widths[0]}, ends with {widths[1]}",
            )
