"""The transformer of BERT, as used in EasyRec's sequence and multi-modal models."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from hvdrec.layers import activations, initializers
from hvdrec.layers.attention.scores import attend, join_heads, softmax, split_heads
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.layer_norm import CONTRIB_EPSILON, LayerNorm
from hvdrec.layers.tensors import dropped
from hvdrec.layers.variables import VariableStore

#: Added to the score of a masked position.
_FLOOR = -10000.0


class BertShape(NamedTuple):
    """The configuration of an encoder.

    Attributes:
        hidden: Columns of a token; `heads` divides them.
        layers: The number of layers.
        heads: The number of heads per layer.
        intermediate: Columns between the two dense layers of each.
        activation: The activation between them.
        hidden_dropout: Dropout of the residual branches.
        attention_dropout: Dropout of the attention's probabilities.
        stddev: The standard deviation of the kernels' initial values, truncated normals.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    activation: str
    hidden_dropout: float
    attention_dropout: float
    stddev: float


class BertEncoder(Layer):
    """Layers of self-attention and a feed-forward net, each followed by a residual connection and a layer
    norm.

    Devlin et al. 2019; Vaswani et al. 2017, section 3.
    """

    outputs: int

    def __init__(self, store: VariableStore, name: str, shape: BertShape) -> None:
        """Makes ``<name>_layer_<i>/{attention/self,attention/output,intermediate,output}``."""
        super().__init__()
        self.outputs = shape.hidden
        self._layers = [_BertLayer(store, f"{name}_layer_{i}", shape) for i in range(shape.layers)]

    def __call__(self, inputs: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None = None) -> tf.Tensor:
        """Maps tokens [B, T, hidden] to tokens.

        Args:
            inputs: float32 [B, T, hidden].
            run: The forward pass.
            seen: bool [B, T], the visible tokens; None for all.
        """
        for layer in self._layers:
            inputs = layer(inputs, run, seen)
        return inputs


class AttentionShape(NamedTuple):
    """What heads of attention are built from.

    Attributes:
        queries: Columns of a token that attends.
        keys: Columns of a token that is attended to.
        heads: How many heads.
        size: Columns of a head.
        dropout: Of the probabilities.
        stddev: Of the kernels' first values, truncated normals.
    """

    queries: int
    keys: int
    heads: int
    size: int
    dropout: float
    stddev: float


class HeadAttention(tf.Module):
    """Heads of attention side by side, without the layer that mixes them.

    Vaswani et al. 2017, section 3.2.2.

    Attributes:
        outputs: Columns of all heads.
    """

    def __init__(self, store: VariableStore, scope: str, shape: AttentionShape) -> None:
        """Makes ``<scope>/{query,key,value}/{kernel,bias}``."""
        super().__init__()
        self.outputs = shape.heads * shape.size
        self._scope, self._shape = scope, shape
        initializer = initializers.truncated_normal(0.0, shape.stddev)
        self._query, self._key, self._value = (
            Dense(store, f"{scope}/{part}", inputs, self.outputs, kernel_initializer=initializer)
            for part, inputs in (("query", shape.queries), ("key", shape.keys), ("value", shape.keys))
        )

    def __call__(
        self, queries: tf.Tensor, keys: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None = None
    ) -> tf.Tensor:
        """What each token finds among those it attends to.

        Args:
            queries: float32 [B, Q, columns].
            keys: float32 [B, T, columns].
            run: The pass.
            seen: bool [B, T], the tokens that may be attended to. None: all.

        Returns:
            float32 [B, Q, heads * size].
        """
        shape = self._shape
        query, key, value = (
            split_heads(over_tokens(part, x, run), shape.heads)
            for part, x in ((self._query, queries), (self._key, keys), (self._value, keys))
        )
        scores = tf.matmul(query, key, transpose_b=True) / math.sqrt(shape.size)
        probabilities = softmax(scores, None if seen is None else seen[:, None, None, :], _FLOOR)
        rate = shape.dropout if run.training else 0.0
        seed = run.seed_for(f"{self._scope}/probabilities") if rate > 0.0 else None
        return join_heads(attend(probabilities, value, rate, seed))


class _BertLayer(Layer):
    def __init__(self, store: VariableStore, scope: str, shape: BertShape) -> None:
        super().__init__()
        hidden = self.outputs = shape.hidden
        initializer = initializers.truncated_normal(0.0, shape.stddev)
        self._attention = HeadAttention(
            store,
            f"{scope}/attention/self",
            AttentionShape(
                hidden, hidden, shape.heads, hidden // shape.heads, shape.attention_dropout, shape.stddev
            ),
        )
        self._mix = Dense(
            store, f"{scope}/attention/output/dense", hidden, hidden, kernel_initializer=initializer
        )
        self._residual = Residual(store, f"{scope}/attention/output", hidden, shape.hidden_dropout)
        self._feed_forward = FeedForward(store, scope, shape)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None = None) -> tf.Tensor:
        context = over_tokens(self._mix, self._attention(inputs, inputs, run, seen), run)
        return self._feed_forward(self._residual(context, inputs, run), run)


class FeedForward(Layer):
    """The second half of a transformer's layer: two dense layers, a residual and a layer norm."""

    outputs: int

    def __init__(self, store: VariableStore, scope: str, shape: BertShape) -> None:
        """Makes ``<scope>/{intermediate,output}/dense`` and ``<scope>/output/LayerNorm``."""
        super().__init__()
        hidden, between = shape.hidden, shape.intermediate
        self.outputs = hidden
        initializer = initializers.truncated_normal(0.0, shape.stddev)
        self._up = Dense(
            store, f"{scope}/intermediate/dense", hidden, between, kernel_initializer=initializer
        )
        self._activation = activations.build(shape.activation, store, f"{scope}/intermediate", between)
        self._down = Dense(store, f"{scope}/output/dense", between, hidden, kernel_initializer=initializer)
        self._residual = Residual(store, f"{scope}/output", hidden, shape.hidden_dropout)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps float32 [B, T, hidden] to the same shape."""
        flat = tf.reshape(inputs, [-1, self.outputs])
        found = self._down(self._activation(self._up(flat, run), run), run)
        return self._residual(tf.reshape(found, tf.shape(inputs)), inputs, run)


class Residual(tf.Module):
    """``norm(dropout(x) + before)``."""

    def __init__(self, store: VariableStore, scope: str, width: int, dropout: float) -> None:
        """Makes ``<scope>/LayerNorm``."""
        super().__init__()
        self._scope, self._dropout = scope, dropout
        self._norm = LayerNorm(store, f"{scope}/LayerNorm", width, CONTRIB_EPSILON)

    def __call__(self, x: tf.Tensor, before: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Adds float32 [B, T, width] to `before`, which has the same shape."""
        if self._dropout > 0.0 and run.training:
            x = dropped(x, self._dropout, run.seed_for(f"{self._scope}/dropout"))
        return self._norm(tf.ensure_shape(x + before, before.shape), run)


def over_tokens(layer: Dense, tokens: tf.Tensor, run: ForwardContext) -> tf.Tensor:
    """A dense layer over the last axis of float32 [B, T, columns]."""
    found = layer(tf.reshape(tokens, [-1, layer.inputs]), run)
    shape = tf.shape(tokens)
    whole = tf.reshape(found, [shape[0], shape[1], layer.outputs])
    return tf.ensure_shape(whole, [None, tokens.shape[1], layer.outputs])
