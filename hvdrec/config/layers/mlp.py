"""The parameters of MLP."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.shapes import Widths, last_axis, width
from hvdrec.config.layers.spec import ACTIVATIONS, INITIALIZERS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    if len(config.dropout_ratio) > len(config.hidden_units):
        yield (
            "dropout_ratio",
            f"has {len(config.dropout_ratio)} rates for {len(config.hidden_units)} layers",
        )


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    before, last = last_axis(inputs)
    return width((*before, config.hidden_units[-1] if config.hidden_units else last))


def check_within(name: str, config: LayerConfig | None) -> Iterator[tuple[str, str]]:
    """Checks the MLP in the parameter `name` of a layer, if given, for inconsistent fields."""
    for field, text in () if config is None else _check(config):
        yield f"{name}.{field}", text


MLP = LayerSpec(
    "MLP",
    "mlp",
    (
        Parameter("hidden_units", int, required=True, repeated=True, allowed=AT_LEAST_1),
        # Layers beyond the list have no dropout.
        Parameter("dropout_ratio", float, default=(), repeated=True, allowed=BELOW_1),
        Parameter("activation", str, default="relu", allowed=ACTIVATIONS),
        Parameter("use_bn", bool, default=True),
        Parameter("use_final_bn", bool, default=True),
        # The message's default, relu, differs.
        Parameter("final_activation", str, default="", allowed=ACTIVATIONS),
        Parameter("use_bias", bool, default=False),
        Parameter("use_final_bias", bool, default=False),
        Parameter("initializer", str, default="he_uniform", allowed=INITIALIZERS),
        Parameter("use_bn_after_activation", bool, default=False),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="[B, ..., D] -> [B, ..., hidden_units[-1]]: layers of dense, batch norm, activation and dropout "
    "over the last axis. The last layer has `use_final_bn`, `final_activation` and `use_final_bias` of its "
    "own. With "
    "`use_bn_after_activation` the activation comes before the norm.",
)
