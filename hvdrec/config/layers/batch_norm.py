"""The parameters of Keras's BatchNormalization."""

from __future__ import annotations

from hvdrec.config.layers.shapes import columns
from hvdrec.config.layers.spec import LayerSpec, Parameter
from hvdrec.config.ranges import FRACTION, POSITIVE

BATCH_NORMALIZATION = LayerSpec(
    "BatchNormalization",
    None,
    (
        Parameter("momentum", float, default=0.99, allowed=FRACTION),
        Parameter("epsilon", float, default=1e-3, allowed=POSITIVE),
        Parameter("center", bool, default=True),
        Parameter("scale", bool, default=True),
    ),
    outputs=lambda config, inputs: columns(inputs),
    formula="[B, D] -> [B, D]: `(x - mean) / sqrt(variance + epsilon) * gamma + beta` with the mean and "
    "variance of the batch in training, their moving averages otherwise.",
    source="Ioffe and Szegedy, ICML 2015",
)
