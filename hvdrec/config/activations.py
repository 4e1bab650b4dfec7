"""The names of activation functions."""

from __future__ import annotations

ACTIVATIONS = (
    "relu",
    "relu6",
    "gelu",
    "leaky_relu",
    "elu",
    "selu",
    "tanh",
    "swish",
    "silu",
    "sigmoid",
    "softplus",
    "softsign",
    "softmax",
    "linear",
    "dice",
    "prelu",
)
