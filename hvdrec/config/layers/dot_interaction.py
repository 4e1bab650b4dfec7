"""The parameters of DotInteraction."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, embeddings, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    count, _ = embeddings(inputs)
    if config.skip_gather:
        return count * count
    pairs = count * (count + 1 if config.self_interaction else count - 1) // 2
    if not pairs:
        raise misfit("at least two features", inputs)
    return pairs


DOT_INTERACTION = LayerSpec(
    "DotInteraction",
    None,
    (
        Parameter("self_interaction", bool, default=False),
        Parameter("skip_gather", bool, default=False),
    ),
    outputs=_outputs,
    formula="F embeddings [B, D], or [B, F, D] -> [B, F (F - 1) / 2]: the dot products `v_i v_j` with j "
    "below i, "
    "row by row; with `self_interaction` those with j = i too. `skip_gather` returns the "
    "whole matrix [B, F F], with zeros in place of the others.",
    source="Naumov et al. 2019, section 2.1.3",
)
