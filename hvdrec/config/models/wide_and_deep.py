"""WideAndDeep in configs."""

from __future__ import annotations

from typing import Any

from hvdrec.config.models.spec import ModelSpec, is_embedding
from hvdrec.config.ranges import AT_LEAST_1


class WideAndDeepSpec(ModelSpec):
    """Groups ``wide`` and ``deep``; up to three optimizers."""

    name = "WideAndDeep"
    block = "wide_and_deep"
    needs = {"wide": True, "deep": False}
    order = ("wide", "deep")
    most_optimizers = 3
    ranges = {"WideAndDeep.wide_output_dim": AT_LEAST_1}

    def wide_width(self, model: Any) -> int:
        """`wide_output_dim`; without `final_dnn` one column per class."""
        if not model.wide_and_deep.final_dnn.hidden_units:
            return int(model.num_class)
        return super().wide_width(model)

    def optimizer_index(self, name: str, count: int) -> int:
        """The first trains wide tables, the second the rest; of three, the second trains deep tables."""
        if count <= 1 or (name.startswith("input_layer") and not name.startswith("input_layer_1")):
            return 0
        return 1 if count == 2 or is_embedding(name) else 2
