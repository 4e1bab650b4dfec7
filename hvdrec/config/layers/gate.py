"""The parameters of Gate."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    index = config.weight_index
    needs = (
        f"a list with the weights [batch, n] at weight_index ({index}) and up to n tensors of the same width"
    )
    if not isinstance(inputs, list) or index >= len(inputs) or len(inputs) < 2:
        raise misfit(needs, inputs)
    weights, others = inputs[index], [*inputs[:index], *inputs[index + 1 :]]
    first = others[0]
    if not isinstance(first, int) or not isinstance(weights, int):
        raise misfit(needs, inputs)
    if weights < len(others) or any(other != first for other in others):
        raise misfit(needs, inputs)
    return first


GATE = LayerSpec(
    "Gate",
    "gate",
    (Parameter("weight_index", int, default=0, allowed=AT_LEAST_0),),
    unread=("mlp",),
    outputs=_outputs,
    formula="a list of the weights w [B, n] and up to n tensors x_j [B, D] -> [B, D]: `sum of w_j "
    "x_j`. The weights are the input at index `weight_index`.",
    source="Zhang et al., CIKM 2023, Cross Decoupling Network",
)
