"""MultiTowerRecall in configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hvdrec.config.models.check import PATH, ModelCheck
from hvdrec.config.models.matching import check_widths
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.samplers import sampler_config


class MultiTowerRecallSpec(ModelSpec):
    """Groups `user` and `item`, a tower each, and a DNN over both."""

    name = "MultiTowerRecall"
    block = "multi_tower_recall"
    needs: ClassVar[Mapping[str, bool]] = {"user": False, "item": False}
    order = ("user", "item")
    paired_groups = ("user",)
    ignored = {
        "MultiTowerRecall.ignore_in_batch_neg_sam": "has no effect, as in EasyRec; a row is compared with "
        "its own item alone"
    }

    def item_groups(self, proto: Any) -> Sequence[str]:
        """``item``."""
        del proto
        return ("item",)

    def check(self, check: ModelCheck) -> None:
        """Towers of one width, and no hard negatives, which belong to single rows."""
        check.need_one_class(self.name)
        check_widths(
            check, {"user_tower": check.block.user_tower.dnn, "item_tower": check.block.item_tower.dnn}
        )
        sampler = sampler_config(check.proto)
        if sampler is not None and check.proto.data_config.WhichOneof("sampler").startswith("hard"):
            check.error(
                f"data_config.{check.proto.data_config.WhichOneof('sampler')}",
                f"{self.name} has no use for hard negatives; use negative_sampler",
            )
        for g, group in enumerate(check.model.feature_groups):
            alone = sampler is not None and group.sequence_features and not group.negative_sampler
            if group.group_name in self.paired_groups and alone:
                check.error(
                    f"{PATH}.feature_groups[{g}].negative_sampler",
                    "must be true with a sampler: the keys of sequence_features are the items'",
                )
