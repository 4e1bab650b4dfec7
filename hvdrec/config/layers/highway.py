"""The parameters of Highway."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, columns
from hvdrec.config.layers.spec import ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    width = columns(inputs)
    return config.emb_size or width


HIGHWAY = LayerSpec(
    "Highway",
    "highway",
    (
        # Defaults to the input's width.
        Parameter("emb_size", int, allowed=AT_LEAST_1),
        Parameter("num_layers", int, default=1, allowed=AT_LEAST_1),
        Parameter("activation", str, default="relu", allowed=ACTIVATIONS),
        Parameter("dropout_rate", float, default=0.0, allowed=BELOW_1),
        Parameter("init_gate_bias", float, default=-3.0),
    ),
    unread=("input",),
    outputs=_outputs,
    formula="[B, D] -> [B, emb_size]: a linear projection where the width changes, then `num_layers` of "
    "`t * activation(H x) + (1 - t) x` with `t = sigmoid(T x + b)`, b starting at `init_gate_bias`.",
    source="Srivastava et al. 2015",
)
