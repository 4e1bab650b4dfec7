"""A transformer layer, as in EasyRec's Keras layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from hvdrec.layers import activations
from hvdrec.layers.attention.multi_head import Heads, HeadShape
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.layer_norm import LayerNorm
from hvdrec.layers.tensors import dropped
from hvdrec.layers.variables import VariableStore

_EPSILON = 1e-6


class BlockShape(NamedTuple):
    """The configuration of a block; the names are those of its parameters."""

    hidden_size: int
    heads: int
    intermediate_size: int
    activation: str
    dropout: float
    attention_dropout: float


class Block(Layer):
    """Self-attention and a feed-forward net, each with a residual and a layer norm (Vaswani et al. 2017)."""

    outputs: Widths

    def __init__(self, store: VariableStore, scope: str, shape: BlockShape, tokens: Widths) -> None:
        """Creates ``multi_head_attn``, two dense layers and two norms with Keras's automatic names."""
        super().__init__()
        self.outputs, self._scope, self._dropout = tokens, scope, shape.dropout
        width, middle = shape.hidden_size, shape.intermediate_size
        per_head = width // shape.heads
        self._heads = Heads(
            store,
            f"{scope}/multi_head_attn",
            HeadShape(shape.heads, per_head, per_head, width, shape.attention_dropout),
            (width, width, width),
        )

        def dense(inputs: int, outputs: int) -> Dense:
            return Dense(store, f"{scope}/{store.automatic('dense')}", inputs, outputs)

        def norm() -> LayerNorm:
            return LayerNorm(store, f"{scope}/{store.automatic('layer_normalization')}", width, _EPSILON)

        self._up, self._down = dense(width, middle), dense(middle, width)
        self._activation = activations.build_exact(shape.activation, store, f"{scope}/act", middle)
        self._norm, self._last_norm = norm(), norm()

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps tokens [B, T, D] and their mask bool [B, T], or lengths [B], to tokens."""
        x, mask = inputs
        mask = as_mask(mask, tf.shape(x)[1])
        # A token sees another if neither is masked; a masked token attends uniformly to all.
        seen = (mask[:, :, None] & mask[:, None, :])[:, None]
        attended, _ = self._heads(x, x, x, run, seen)
        x = self._norm(x + self._dropped(attended, run, "attention"), run)
        flat = tf.reshape(x, [-1, x.shape[2]])
        found = self._down(self._activation(self._up(flat, run), run), run)
        found = tf.ensure_shape(tf.reshape(found, tf.shape(x)), x.shape)
        return self._last_norm(x + self._dropped(found, run, "feed_forward"), run)

    def _dropped(self, x: tf.Tensor, run: ForwardContext, place: str) -> tf.Tensor:
        if self._dropout == 0.0 or not run.training:
            return x
        return dropped(x, self._dropout, run.seed_for(f"{self._scope}/{place}"))


def as_mask(mask: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """A mask bool [B, T] from a mask of any type, or from lengths [B]."""
    if mask.shape.rank == 1:
        return tf.sequence_mask(mask, length)
    return tf.cast(mask, tf.bool)


def build(build: LayerBuild) -> Block:
    """Builds TransformerBlock."""
    config = build.config
    assert isinstance(build.inputs, list)
    return Block(
        build.store,
        build.scope,
        BlockShape(
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size or config.hidden_size,
            config.hidden_act,
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
        ),
        build.inputs[0],
    )
