"""The parameters of TransformerBlock."""

from __future__ import annotations

from collections.abc import Iterator

from hvdrec.config.layers.bst import check_heads
from hvdrec.config.layers.shapes import Widths, misfit
from hvdrec.config.layers.spec import KERAS_ACTIVATIONS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1

BLOCK = (
    Parameter("hidden_size", int, required=True, allowed=AT_LEAST_1),
    Parameter("num_attention_heads", int, required=True, allowed=AT_LEAST_1),
    # Defaults to hidden_size.
    Parameter("intermediate_size", int, allowed=AT_LEAST_1),
    Parameter("hidden_act", str, default="relu", allowed=KERAS_ACTIVATIONS),
    Parameter("hidden_dropout_prob", float, default=0.1, allowed=BELOW_1),
    Parameter("attention_probs_dropout_prob", float, default=0.0, allowed=BELOW_1),
)


def is_mask(width: Widths) -> bool:
    """Whether a width belongs to a mask [B, T] or to lengths [B]."""
    return width == () or isinstance(width, int) or (isinstance(width, tuple) and len(width) == 1)


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    yield from check_heads(config)


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    needs = (
        f"a list of tokens [batch, T, hidden_size = {config.hidden_size}] and their mask [batch, T], "
        "or their lengths [batch]"
    )
    if isinstance(inputs, list) and len(inputs) == 2:
        tokens, mask = inputs
        if (
            isinstance(tokens, tuple)
            and len(tokens) == 2
            and tokens[1] == config.hidden_size
            and is_mask(mask)
        ):
            return tokens
    raise misfit(needs, inputs)


TRANSFORMER_BLOCK = LayerSpec(
    "TransformerBlock",
    "transformer",
    BLOCK,
    unread=(
        *("num_hidden_layers", "vocab_size", "max_position_embeddings", "use_position_embeddings"),
        "output_all_token_embeddings",
    ),
    check=_check,
    outputs=_outputs,
    formula="tokens x [B, T, hidden_size] and their mask [B, T], or their lengths [B] -> [B, T, "
    "hidden_size]: "
    "`y = LN(x + MHA(x))`, then `LN(y + W2 act(W1 y))`, with `num_attention_heads` heads and "
    "`intermediate_size` "
    "columns between; `hidden_dropout_prob` is the dropout of each residual branch. Masked tokens "
    "aren't "
    "attended to.",
    source="Vaswani et al., NIPS 2017, section 3",
)
