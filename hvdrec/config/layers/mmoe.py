"""The parameters of MMoE."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, columns, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_within("expert_mlp", config.expert_mlp)


def expert_inputs(given: bool, count: int, inputs: Widths) -> tuple[int, int]:
    """The columns of an expert and of the gates' input.

    Args:
        given: Whether the experts are given as inputs.
        count: `num_expert`.
        inputs: The layer's inputs.

    Raises:
        ShapeError: The inputs have other shapes.
    """
    if not given:
        width = columns(inputs)
        return width, width
    needs = (
        f"without expert_mlp a list of the num_expert ({count}) experts, all [batch, columns], and the "
        "gates' "
        "input [batch, columns]"
    )
    if not isinstance(inputs, list) or len(inputs) != count + 1:
        raise misfit(needs, inputs)
    first, gate = columns(inputs[0], needs), columns(inputs[-1], needs)
    if any(each != first for each in inputs[:-1]):
        raise misfit(needs, inputs)
    return first, gate


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    expert, _ = expert_inputs(config.expert_mlp is None, config.num_expert, inputs)
    width = expert if config.expert_mlp is None else MLP.outputs(config.expert_mlp, expert)
    return [width] * config.num_task


MMOE = LayerSpec(
    "MMoE",
    "mmoe",
    (
        Parameter("num_task", int, required=True, allowed=AT_LEAST_1),
        Parameter("expert_mlp", MLP.parameters),
        Parameter("num_expert", int, required=True, allowed=AT_LEAST_1),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="x [B, D] -> a list of `num_task` tensors [B, E]: for each task the sum of the `num_expert` "
    "experts MLP(x), weighted by the softmax of a dense layer of x. Without `expert_mlp` "
    "the inputs are a list of the experts' outputs [B, E], followed by the gates' input [B, D].",
    source="Ma et al., KDD 2018, MMoE, equations 5 to 7",
)
