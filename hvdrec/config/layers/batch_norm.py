"""The parameters of Keras's BatchNormalization."""

from __future__ import annotations

from hvdrec.config.layers.shapes import Widths, last_axis
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import FRACTION, POSITIVE


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    last_axis(inputs)
    return inputs


BATCH_NORMALIZATION = LayerSpec(
    "BatchNormalization",
    None,
    (
        Parameter("momentum", float, default=0.99, allowed=FRACTION),
        Parameter("epsilon", float, default=1e-3, allowed=POSITIVE),
        Parameter("center", bool, default=True),
        Parameter("scale", bool, default=True),
    ),
    outputs=_outputs,
    formula="[B, ..., D] -> the same shape: `(x - mean) / sqrt(variance + epsilon) * gamma + beta` with "
    "the mean and variance of the batch in training, their moving averages otherwise.",
    source="Ioffe and Szegedy, ICML 2015",
)
