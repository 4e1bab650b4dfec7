"""The parameters of MultiHeadAttention."""

from __future__ import annotations

from hvdrec.config.layers.attention import query_value_key
from hvdrec.config.layers.shapes import Widths
from hvdrec.config.layers.spec import INITIALIZERS, LayerConfig, LayerSpec, Parameter
from hvdrec.config.ranges import AT_LEAST_1, BELOW_1, Range


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    query, value, _ = query_value_key(inputs)
    result = (query[0], config.output_shape or query[1])
    if config.return_attention_scores:
        return [result, (config.num_heads, query[0], value[0])]
    return result


MULTI_HEAD_ATTENTION = LayerSpec(
    "MultiHeadAttention",
    "multi_head_attention",
    (
        Parameter("num_heads", int, required=True, allowed=AT_LEAST_1),
        Parameter("key_dim", int, required=True, allowed=AT_LEAST_1),
        Parameter("value_dim", int, allowed=AT_LEAST_1),
        Parameter("dropout", float, default=0.0, allowed=BELOW_1),
        Parameter("use_bias", bool, default=True),
        Parameter("return_attention_scores", bool, default=False),
        Parameter("use_causal_mask", bool, default=False),
        Parameter("output_shape", int, allowed=AT_LEAST_1),
        # The only axis between batch and columns; other values need tensors with more axes.
        Parameter("attention_axes", int, default=(), repeated=True, allowed=Range(1, 1)),
        Parameter("kernel_initializer", str, default="glorot_uniform", allowed=INITIALIZERS),
        Parameter("bias_initializer", str, default="zeros", allowed=INITIALIZERS),
    ),
    outputs=_outputs,
    formula="queries [B, Q, D], values [B, T, E] and keys [B, T, E'], which are the values where they "
    "aren't given -> "
    "[B, Q, output_shape], by default [B, Q, D]: `num_heads` heads `softmax(q k / sqrt(key_dim)) v` of "
    "projections to `key_dim` and `value_dim` (by default as many) columns, then a dense layer over the "
    "heads side "
    "by side. `use_causal_mask`: position i attends to no position after i. "
    "`return_attention_scores` returns a list of "
    "the "
    "output and the softmax [B, num_heads, Q, T].",
    source="Vaswani et al., NIPS 2017, section 3.2.2; Keras's MultiHeadAttention",
)
