"""The parameters of AITMTower."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, columns, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_within("transfer_mlp", config.transfer_mlp)


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    needs = "the tower [batch, columns], or a list of it and the towers it depends on"
    if not isinstance(inputs, list):
        return columns(inputs, needs)
    if not inputs:
        raise misfit(needs, inputs)
    own, *others = (columns(each, needs) for each in inputs)
    if config.transfer_mlp is not None and len(set(others)) > 1:
        raise misfit("towers of the same width, because all of them use transfer_mlp", inputs)
    return config.project_dim or own


AITM_TOWER = LayerSpec(
    "AITMTower",
    "aitm",
    (
        Parameter("project_dim", int, allowed=AT_LEAST_1),
        Parameter("transfer_mlp", MLP.parameters),
        Parameter("stop_gradient", bool, default=True),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="a list of a task's tower [B, D] and the towers [B, D_i] it depends on -> [B, project_dim], by "
    "default [B, D]: "
    "the others go through the MLP `transfer_mlp`, without a gradient to them unless `stop_gradient: false`; "
    "every tower has its own dense layers for a query, a key and a value; the output is "
    "the attention of the first tower's query over all, `softmax(q k / sqrt(dim)) "
    "v`. A single tower is returned unchanged.",
    source="Xi et al., KDD 2021, AITM, equations 3 to 6",
)
