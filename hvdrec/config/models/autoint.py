"""AutoInt in configs."""

from __future__ import annotations

from hvdrec.config.models.attention import attended_features
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.names import enum_name
from hvdrec.config.ranges import AT_LEAST_1


class AutoIntSpec(ModelSpec):
    """Group ``all``, with features of the same width."""

    name = "AutoInt"
    block = "autoint"
    needs = {"all": False}
    order = ("all",)
    ranges = {
        "AutoInt.multi_head_num": AT_LEAST_1,
        "AutoInt.multi_head_size": AT_LEAST_1,
        "AutoInt.interacting_layer_num": AT_LEAST_1,
    }

    def check(self, check: ModelCheck) -> None:
        """Checks that all features of the group, including its histories, have the same width."""
        group = check.groups.get("all")
        if group is None:
            return
        if enum_name(group, "wide_deep") == "WIDE":
            check.error(GROUPS, f"{self.name} needs group 'all' with wide_deep: DEEP")
        widths = {n: w for n, w in check.widths("all").items() if n in group.feature_names}
        for attention in group.sequence_features:
            widths.update(attended_features(check.proto, attention))
        if len(set(widths.values())) > 1:
            (first, width), *rest = widths.items()
            name, other = next((n, w) for n, w in rest if w != width)
            check.error(
                GROUPS,
                "the features of group 'all' must have the same embedding_dim in AutoInt: "
                f"{first} has {width}, {name} has {other}",
            )
        if not check.block.HasField("easyrec_scale"):
            check.report.warn(
                check.path,
                "attention scores are divided by sqrt(multi_head_size), where EasyRec multiplies; set "
                "easyrec_scale: true for a checkpoint of EasyRec, or false to silence this warning",
            )
