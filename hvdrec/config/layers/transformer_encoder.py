"""The parameters of TransformerEncoder."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.bst import check_heads
from hvdrec.config.layers.shapes import Widths, dimensions, misfit
from hvdrec.config.layers.spec import LayerConfig, LayerSpec, Parameter
from hvdrec.config.layers.transformer_block import BLOCK, is_mask
from hvdrec.config.ranges import AT_LEAST_1


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_heads(config)
    if config.hidden_size % 2:
        yield (
            "hidden_size",
            f"must be even, is {config.hidden_size}: half of the position encoding is sines, half cosines",
        )


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    if isinstance(inputs, list) and len(inputs) == 2:
        tokens, mask = inputs
        if (
            tokens is not None
            and not isinstance(tokens, list)
            and len(dimensions(tokens)) == 1
            and is_mask(mask)
        ):
            if not config.output_all_token_embeddings:
                return config.hidden_size
            # Tokens beyond max_position_embeddings are cut off.
            return (None, config.hidden_size)
    raise misfit("a list of token ids [batch, T] and their mask [batch, T], or their lengths [batch]", inputs)


TRANSFORMER_ENCODER = LayerSpec(
    "TransformerEncoder",
    "transformer",
    (
        *BLOCK,
        Parameter("num_hidden_layers", int, default=1, allowed=AT_LEAST_1),
        Parameter("vocab_size", int, required=True, allowed=AT_LEAST_1),
        Parameter("max_position_embeddings", int, default=512, allowed=AT_LEAST_1),
        Parameter("output_all_token_embeddings", bool, default=True),
    ),
    unread=("use_position_embeddings",),
    check=_check,
    outputs=_outputs,
    formula="token ids below `vocab_size` [B, T] and their mask [B, T], or their lengths [B] -> [B, T, "
    "hidden_size], "
    "without `output_all_token_embeddings` the first token [B, hidden_size]: embeddings times "
    "sqrt(hidden_size), plus sines and cosines of the position, then `num_hidden_layers` TransformerBlocks. "
    "Tokens beyond `max_position_embeddings` are cut off.",
    source="Vaswani et al., NIPS 2017, section 3",
)
