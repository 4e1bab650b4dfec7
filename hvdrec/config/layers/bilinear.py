"""The parameters of BiLinear."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, features, misfit
from hvdrec.config.layers.spec import AnyCase, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    widths = features(inputs)
    if len(widths) < 2:
        raise misfit("at least two features", inputs)
    if config.type.lower() != "interaction" and len(set(widths)) > 1:
        raise misfit(
            f"features of the same width for type {config.type} (type interaction accepts any widths)", inputs
        )
    return config.num_output_units


BILINEAR = LayerSpec(
    "BiLinear",
    "bilinear",
    (
        Parameter("type", str, default="interaction", allowed=AnyCase(("all", "each", "interaction"))),
        Parameter("use_plus", bool, default=True),
        Parameter("num_output_units", int, required=True, allowed=AT_LEAST_1),
    ),
    outputs=_outputs,
    formula="F features [B, D_i] -> [B, num_output_units]: a dense layer of all pairs i below j of "
    "`(W v_i + b) v_j`, a dot product with `use_plus`, otherwise an element-wise product. "
    "W is one matrix for `type: all`, one per i for `each`, and one per pair for "
    "`interaction`, where features can differ in width.",
    source="Huang et al., RecSys 2019, FiBiNET, section 3.4; Zhang et al. 2022, FiBiNet++",
)
