"""Activations that a config can name: one table for checks and builders."""

from __future__ import annotations

_PREFIXES = ("tf.nn.", "tf.math.", "tf.keras.activations.", "tf.")

#: Short names; `hvdrec.layers.activations` has the code.
NAMES = (
    *("relu", "relu6", "gelu", "leaky_relu", "elu", "selu", "tanh", "swish", "silu", "sigmoid"),
    *("softplus", "softsign", "softmax", "linear", "dice", "prelu"),
)


def canonical(name: str) -> str:
    """The short name: ``tf.nn.relu`` and ``relu`` are the same; an empty name means none (linear)."""
    prefix = next((p for p in _PREFIXES if name.startswith(p)), "")
    return name[len(prefix) :].lower() or "linear"
