"""DeepFM in configs."""

from __future__ import annotations

from hvdrec.config.models.check import ModelCheck
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1


class DeepFMSpec(ModelSpec):
    """Groups ``wide``, ``deep`` and optionally ``fm``."""

    name = "DeepFM"
    block = "deepfm"
    needs = {"wide": True, "deep": False}
    order = ("wide", "deep", "fm")
    ignored = {"DeepFM.wide_regularization": "is deprecated and has no effect; use l2_regularization"}
    ranges = {
        "DeepFM.wide_output_dim": AT_LEAST_1,
        "DeepFM.dense_regularization": AT_LEAST_0,
        "DeepFM.wide_regularization": AT_LEAST_0,
    }

    def check(self, check: ModelCheck) -> None:
        """Warns about FM features of several widths, and checks that wide features have the output's."""
        check.tell_padding("fm" if "fm" in check.groups else "deep")
        classes, width = check.model.num_class, check.block.wide_output_dim
        if not check.block.final_dnn.hidden_units and width != classes:
            check.error(
                f"{check.path}.wide_output_dim",
                f"without final_dnn it must be num_class ({classes}), is {width}",
            )
