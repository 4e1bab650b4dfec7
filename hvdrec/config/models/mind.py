"""MIND in configs."""

from __future__ import annotations

import dataclasses
from typing import Any

from hvdrec.config.losses import LIST_WISE
from hvdrec.config.models.check import GROUPS, ModelCheck
from hvdrec.config.models.heads import KINDS, HeadConfig
from hvdrec.config.models.matching import MatchSpec
from hvdrec.config.names import enum_name
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1, STRENGTH

#: Metrics of a list-wise head.
METRICS = KINDS["interests"].metrics or ()


class MINDSpec(MatchSpec):
    """Groups `hist` (only sequences), `user` and `item`."""

    name = "MIND"
    block = "mind"
    needs = dict.fromkeys(("hist", "user", "item"), False)
    order = tuple(needs)
    kinds = ("logit", "interests")
    sequence_groups = ("hist",)
    aligned_groups = ("hist",)
    widths = ("concat_dnn", "item_dnn")
    ranges = {
        **{f"Capsule.{name}": AT_LEAST_1 for name in ("max_k", "max_seq_len", "high_dim", "num_iters")},
        **{f"Capsule.{name}": AT_LEAST_0 for name in ("routing_logits_scale", "routing_logits_stddev")},
        **{f"Capsule.{name}": STRENGTH for name in ("squash_pow", "scale_ratio")},
        "MIND.simi_pow": STRENGTH,
    }

    def heads(self, proto: Any) -> tuple[HeadConfig, ...]:
        """Ignores point-wise metrics for a list-wise head, as EasyRec does."""
        (head,) = super().heads(proto)
        if head.kind == self.kinds[-1]:
            kept = tuple(m for m in head.metrics if m.WhichOneof("metric") in METRICS)
            head = dataclasses.replace(head, metrics=kept)
        return (head,)

    def check(self, check: ModelCheck) -> None:
        """Checks that `hist` contains only matching sequences, and that other groups have none."""
        super().check(check)
        block = check.block
        if enum_name(block, "simi_func") == "EUCLID":
            check.error(f"{check.path}.simi_func", "must be COSINE or INNER_PRODUCT, is EUCLID")
        check.need_sequences("hist")
        self._check_histories(check)
        for i, metric in enumerate(check.proto.eval_config.metrics_set):
            name = metric.WhichOneof("metric")
            if self.kind_of(check.model) == self.kinds[-1] and name and name not in METRICS:
                check.report.warn(
                    f"eval_config.metrics_set[{i}].{name}", f"has no effect on {self.name} with {LIST_WISE}"
                )

    def _check_histories(self, check: ModelCheck) -> None:
        time = check.block.time_id_fea
        widths = check.widths("hist")
        times = [name for name in widths if time and time in name]
        histories = {name: width for name, width in widths.items() if name not in times}
        if time and not times:
            near = check.report.hint(time, widths)
            check.error(f"{check.path}.time_id_fea", f"group 'hist' has no feature of this name; {near}")
        for name in times[:1]:
            if widths[name] != 1:
                check.error(
                    f"{check.path}.time_id_fea", f"{name!r} must have embedding_dim: 1, has {widths[name]}"
                )
        if "hist" in check.groups and not histories:
            check.error(GROUPS, "group 'hist' has no feature besides time_id_fea")
        if enum_name(check.block, "user_seq_combine") == "SUM" and len(set(histories.values())) > 1:
            check.error(
                f"{check.path}.user_seq_combine",
                "SUM needs features with the same embedding_dim in group 'hist', found "
                + ", ".join(f"{name} {width}" for name, width in histories.items()),
            )
