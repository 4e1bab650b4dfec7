"""The parameters of TextCNN."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.mlp import MLP, check_within
from hvdrec.config.layers.shapes import Widths, sequence
from hvdrec.config.layers.spec import KERAS_ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_0, AT_LEAST_1


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    sizes, filters, length = config.filter_sizes, config.num_filters, config.pad_sequence_length
    if len(sizes) != len(filters):
        yield "num_filters", f"has {len(filters)} numbers for {len(sizes)} filter_sizes"
    elif 0 < length < max(sizes):
        yield (
            "pad_sequence_length",
            f"must be at least the largest of filter_sizes ({max(sizes)}), is {length}",
        )
    yield from check_within("mlp", config.mlp)


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    sequence(inputs)
    width = sum(config.num_filters)
    return width if config.mlp is None else MLP.outputs(config.mlp, width)


TEXT_CNN = LayerSpec(
    "TextCNN",
    "text_cnn",
    (
        Parameter("filter_sizes", int, required=True, repeated=True, allowed=AT_LEAST_1),
        Parameter("num_filters", int, required=True, repeated=True, allowed=AT_LEAST_1),
        Parameter("pad_sequence_length", int, required=True, allowed=AT_LEAST_0),
        Parameter("activation", str, default="relu", allowed=KERAS_ACTIVATIONS),
        Parameter("mlp", MLP.parameters),
    ),
    unread=("add_to_outputs",),
    check=_check,
    outputs=_outputs,
    formula="a sequence: elements [B, T, D] and lengths [B] -> [B, sum of num_filters], followed "
    "by `mlp` if given: for each of `filter_sizes` a convolution over that many elements "
    "with `num_filters` columns and `activation`, and its maximum over the positions. "
    "The elements are padded with zeros and cut to "
    "`pad_sequence_length`; 0 pads to the longest row of the batch, on which the output "
    "then depends.",
    source="Kim, EMNLP 2014",
)
