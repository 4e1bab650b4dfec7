"""The parameters of BST."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.shapes import Widths, misfit, sequence
from hvdrec.config.layers.spec import ACTIVATIONS, LayerConfig, LayerSpec, OneOf, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1, POSITIVE

#: Positions of the target among the tokens; with any other value the target is omitted.
_PLACES = ("head", "tail")


def check_heads(config: LayerConfig) -> Iterator[tuple[str, str]]:
    """Checks that the number of heads divides a token's columns."""
    if config.hidden_size % config.num_attention_heads:
        yield (
            "hidden_size",
            f"must be a multiple of num_attention_heads ({config.num_attention_heads}), is "
            f"{config.hidden_size}",
        )


def has_target(position: str, inputs: Widths) -> bool:
    """Whether a target is among the tokens.

    Args:
        position: `target_item_position`.
        inputs: The layer's inputs.
    """
    _, target = sequence(inputs)
    return target is not None and position in _PLACES


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    width, target = sequence(inputs)
    position, length = config.target_item_position, config.max_position_embeddings
    targeted = has_target(position, inputs)
    if targeted and width != target:
        raise misfit("a target with as many columns as an element of the sequence", inputs)
    if not config.output_all_token_embeddings:
        return config.hidden_size
    return (length + (targeted or config.reserve_target_position)) * config.hidden_size


BST = LayerSpec(
    "BST",
    "bst",
    (
        Parameter("hidden_size", int, required=True, allowed=AT_LEAST_1),
        Parameter("num_hidden_layers", int, required=True, allowed=AT_LEAST_1),
        Parameter("num_attention_heads", int, required=True, allowed=AT_LEAST_1),
        Parameter("intermediate_size", int, required=True, allowed=AT_LEAST_1),
        Parameter("hidden_act", str, default="gelu", allowed=ACTIVATIONS),
        Parameter("hidden_dropout_prob", float, default=0.1, allowed=BELOW_1),
        Parameter("attention_probs_dropout_prob", float, default=0.1, allowed=BELOW_1),
        Parameter("max_position_embeddings", int, default=512, allowed=AT_LEAST_1),
        Parameter("use_position_embeddings", bool, default=True),
        Parameter("initializer_range", float, default=0.02, allowed=POSITIVE),
        Parameter("output_all_token_embeddings", bool, default=True),
        Parameter("target_item_position", str, default="head", allowed=OneOf((*_PLACES, "ignore"))),
        Parameter("reserve_target_position", bool, default=True),
    ),
    check=check_heads,
    outputs=_outputs,
    formula="a sequence: elements [B, T, D], lengths [B] and optionally a target [B, D] -> "
    "[B, tokens hidden_size], without `output_all_token_embeddings` the first token [B, "
    "hidden_size]. The target comes before the elements (`target_item_position: "
    "head`) or after them (`tail`); elements with "
    "other "
    "than `hidden_size` columns go through a dense layer with ReLU; position embeddings are added, "
    "then a layer norm and the transformer of BERT: `num_hidden_layers` layers of `num_attention_heads` "
    "heads "
    "and `intermediate_size` columns between. All-zero tokens are masked. The output has "
    "`max_position_embeddings` element tokens, padded or cut, and one more for a "
    "target, "
    "which `reserve_target_position` keeps where there is none.",
    source="Chen et al., DLP-KDD 2019, BST; Devlin et al., NAACL 2019",
)
