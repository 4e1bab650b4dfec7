"""The parameters of SENet."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, features, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    widths = features(inputs)
    groups = config.num_squeeze_group
    if any(width % groups for width in widths):
        raise misfit(f"features with widths divisible by num_squeeze_group ({groups})", inputs)
    return sum(widths)


SENET = LayerSpec(
    "SENet",
    "senet",
    (
        Parameter("reduction_ratio", int, default=4, allowed=AT_LEAST_1),
        Parameter("num_squeeze_group", int, default=2, allowed=AT_LEAST_1),
        Parameter("use_skip_connection", bool, default=True),
        Parameter("use_output_layer_norm", bool, default=True),
    ),
    outputs=_outputs,
    formula="F features [B, D_i] -> [B, sum of D_i]: each feature is cut into g = `num_squeeze_group` "
    "parts; the "
    "maximum and the mean of every part go through a dense layer with ReLU of `2 g F / reduction_ratio` "
    "columns and a linear one, which gives a weight for each column of the features. "
    "`use_skip_connection` adds the features; `use_output_layer_norm` appends a layer norm.",
    source="Zhang et al. 2022, FiBiNet++, section 3.3; Huang et al., RecSys 2019, FiBiNET, section 3.3",
)
