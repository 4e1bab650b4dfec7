"""The parameters of Highway."""

from __future__ import annotations

from hvdrec.config.layers.spec import ACTIVATIONS, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1

HIGHWAY = LayerSpec(
    "Highway",
    "highway",
    (
        # The input's own width where it isn't given.
        Parameter("emb_size", int, allowed=AT_LEAST_1),
        Parameter("num_layers", int, default=1, allowed=AT_LEAST_1),
        Parameter("activation", str, default="relu", allowed=ACTIVATIONS),
        Parameter("dropout_rate", float, default=0.0, allowed=BELOW_1),
        Parameter("init_gate_bias", float, default=-3.0),
    ),
    unread=("input",),
)
