"""The parameters of CIN."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, embeddings
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    embeddings(inputs)
    return sum(config.hidden_feature_sizes)


CIN = LayerSpec(
    "CIN",
    "cin",
    (Parameter("hidden_feature_sizes", int, required=True, repeated=True, allowed=AT_LEAST_1),),
    outputs=_outputs,
    formula="[B, F, D], or F embeddings [B, D] -> [B, sum of hidden_feature_sizes]: layer k has "
    "`hidden_feature_sizes[k]` maps `x^k_h = relu(sum over i, j of W^k_hij x^(k-1)_i * x^0_j + b^k_h)` "
    "[B, D]; the output is the sum of each map over D.",
    source="Lian et al., KDD 2018, xDeepFM, equations 6 and 7",
)
