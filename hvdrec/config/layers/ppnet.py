"""The parameters of PPNet."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, columns, misfit
from hvdrec.config.layers.spec import ACTIVATIONS, LayerConfig, LayerSpec, OneOf, Parameter, defaults
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1

_GATE = (
    Parameter("output_dim", int, allowed=AT_LEAST_1),
    # Defaults to the width of the gated tensor.
    Parameter("hidden_dim", int, allowed=AT_LEAST_1),
    Parameter("activation", str, default="relu", allowed=ACTIVATIONS),
    Parameter("use_bn", bool, default=False),
    Parameter("dropout_rate", float, default=0.0, allowed=BELOW_1),
)


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_within("mlp", config.mlp)


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    x, _ = x_and_prior(inputs)
    gate = config.gate_params.output_dim
    if config.mode != "lazy" and gate not in (None, x):
        raise misfit(f"x with {gate} columns, as gate_params.output_dim declares", inputs)
    return MLP.outputs(config.mlp, x)


def x_and_prior(inputs: Widths) -> tuple[int, int]:
    """The columns of the MLP's input and of the gates' input.

    Raises:
        ShapeError: The inputs aren't two tensors [B, D].
    """
    needs = "a list of the MLP's input [batch, columns] and the gates' input [batch, columns]"
    if not isinstance(inputs, list) or len(inputs) != 2:
        raise misfit(needs, inputs)
    return columns(inputs[0], needs), columns(inputs[1], needs)


PPNET = LayerSpec(
    "PPNet",
    "ppnet",
    (
        Parameter("mlp", MLP.parameters, required=True),
        Parameter("gate_params", _GATE, default=defaults(_GATE)),
        Parameter("mode", str, default="lazy", allowed=OneOf(("eager", "lazy"))),
        Parameter("full_gate_input", bool, default=True),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="x [B, D] and p [B, P] -> [B, mlp.hidden_units[-1]]: an MLP over x where the inputs "
    "(`mode: eager`) or outputs (`lazy`) of each layer are multiplied by gates `2 sigmoid(V "
    "act(U g + a) + b)`. g is p, or with `full_gate_input` x concatenated with p, without "
    "a gradient to x. U has `hidden_dim` columns, by default as many "
    "as "
    "are gated.",
    source="Chang et al., KDD 2023, PEPNet, section 3.3",
)
