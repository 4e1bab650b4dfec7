"""The parameters of Keras's BatchNormalization."""

from __future__ import annotations

from hvdrec.config import support
from hvdrec.config.layers.spec import POSITIVE, LayerSpec, Parameter

BATCH_NORMALIZATION = LayerSpec(
    "BatchNormalization",
    None,
    (
        Parameter("momentum", float, default=0.99, allowed=support.Range(0, 1)),
        Parameter("epsilon", float, default=1e-3, allowed=POSITIVE),
        Parameter("center", bool, default=True),
        Parameter("scale", bool, default=True),
    ),
)
