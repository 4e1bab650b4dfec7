"""Keras layers that keep the shape of their input."""

from __future__ import annotations

from hvdrec.config.layers.keras.merging import place
from hvdrec.config.layers.shapes import Widths, dimensions, last_axis, misfit
from hvdrec.config.layers.spec import KERAS_ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0, BELOW_1, POSITIVE


def _same(config: LayerConfig, inputs: Widths) -> Widths:
    if inputs is None or isinstance(inputs, list):
        raise misfit("one tensor", inputs)
    return inputs


def _last(config: LayerConfig, inputs: Widths) -> Widths:
    last_axis(inputs)
    return inputs


def _along(config: LayerConfig, inputs: Widths) -> Widths:
    if inputs is None or isinstance(inputs, list) or place(config.axis, len(dimensions(inputs))) is None:
        raise misfit(f"one tensor where axis {config.axis} exists and is not the batch axis", inputs)
    return inputs


DROPOUT = LayerSpec(
    "Dropout",
    None,
    (Parameter("rate", float, required=True, allowed=BELOW_1),),
    outputs=_same,
    formula="any tensor -> the same shape; in training that fraction of its numbers is "
    "set to 0 and the others are divided by what "
    "is left.",
    source="Srivastava et al., JMLR 2014",
)
LAYER_NORMALIZATION = LayerSpec(
    "LayerNormalization",
    None,
    (
        Parameter("epsilon", float, default=1e-3, allowed=POSITIVE),
        Parameter("center", bool, default=True),
        Parameter("scale", bool, default=True),
    ),
    outputs=_last,
    formula="[B, ..., D] -> the same shape: `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over "
    "the last axis.",
    source="Ba, Kiros and Hinton 2016",
)
ACTIVATION = LayerSpec(
    "Activation",
    None,
    (Parameter("activation", str, required=True, allowed=KERAS_ACTIVATIONS),),
    outputs=_last,
    formula="[B, ..., D] -> the same shape: the function of that name.",
)
RELU = LayerSpec(
    "ReLU",
    None,
    (
        Parameter("max_value", float, allowed=AT_LEAST_0),
        Parameter("negative_slope", float, default=0.0, allowed=AT_LEAST_0),
        Parameter("threshold", float, default=0.0, allowed=AT_LEAST_0),
    ),
    outputs=_same,
    formula="any tensor -> the same shape: x if x is at least `threshold`, "
    "capped at `max_value`; below the threshold "
    "`negative_slope (x - threshold)`.",
)
LEAKY_RELU = LayerSpec(
    "LeakyReLU",
    None,
    (Parameter("alpha", float, default=0.3, allowed=AT_LEAST_0),),
    outputs=_same,
    formula="any tensor -> the same shape: x, and `alpha x` below 0.",
)
ELU = LayerSpec(
    "ELU",
    None,
    (Parameter("alpha", float, default=1.0),),
    outputs=_same,
    formula="any tensor -> the same shape: x, and `alpha (exp(x) - 1)` below 0.",
    source="Clevert, Unterthiner and Hochreiter, ICLR 2016",
)
SOFTMAX = LayerSpec(
    "Softmax",
    None,
    (Parameter("axis", int, default=-1),),
    outputs=_along,
    formula="any tensor -> the same shape: the softmax along `axis`, where 0 is the batch axis.",
)
UNIT_NORMALIZATION = LayerSpec(
    "UnitNormalization",
    None,
    (Parameter("axis", int, default=-1),),
    outputs=_along,
    formula="any tensor -> the same shape: x divided by its Euclidean norm "
    "along `axis`, where 0 is the batch axis.",
)
BY_COLUMN = (
    *(DROPOUT, LAYER_NORMALIZATION, ACTIVATION, RELU, LEAKY_RELU, ELU, SOFTMAX),
    UNIT_NORMALIZATION,
)
