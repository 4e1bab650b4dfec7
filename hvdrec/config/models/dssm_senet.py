"""DSSM_SENet in configs."""

from __future__ import annotations

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.matching import MatchSpec, ranges_of
from hvdrec.config.ranges import AT_LEAST_1


class DSSMSENetSpec(MatchSpec):
    """Groups `user` and `item`, with gates and one tower each."""

    name = "DSSM_SENet"
    block = "dssm_senet"
    ranges = {
        **ranges_of("DSSM_SENet"),
        "SENet.num_squeeze_group": AT_LEAST_1,
        "SENet.reduction_ratio": AT_LEAST_1,
    }
    silent = ("DSSM_SENet_Tower.id",)

    def check(self, check: ModelCheck) -> None:
        """Checks that the embeddings can be split into groups."""
        super().check(check)
        for side in ("user", "item"):
            senet, place = getattr(check.block, f"{side}_tower").senet, f"{check.path}.{side}_tower.senet"
            for name in ("use_skip_connection", "use_output_layer_norm"):
                if senet.HasField(name):
                    check.report.warn(f"{place}.{name}", "has no effect on DSSM_SENet, as in EasyRec")
            groups = senet.num_squeeze_group
            for name, width in check.widths(side).items():
                if groups and width % groups:
                    check.error(
                        f"{check.path}.{side}_tower.senet.num_squeeze_group",
                        f"must divide the embedding_dim of each feature of group {side!r}; {name!r} has "
                        f"{width}",
                    )
