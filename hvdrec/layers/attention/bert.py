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


class _BertLayer(Layer):
    def __init__(self, store: VariableStore, scope: str, shape: BertShape) -> None:
        super().__init__()
        self.outputs, self._scope, self._shape = shape.hidden, scope, shape
        initializer = initializers.truncated_normal(0.0, shape.stddev)

        def dense(name: str, inputs: int, outputs: int, activation: str = "") -> Dense:
            return Dense(
                store,
                f"{scope}/{name}",
                inputs,
                outputs,
                activation=activation,
                kernel_initializer=initializer,
            )

        hidden = shape.hidden
        self._query, self._key, self._value = (
            dense(f"attention/self/{part}", hidden, hidden) for part in ("query", "key", "value")
        )
        self._output = dense("attention/output/dense", hidden, hidden)
        self._norm = LayerNorm(store, f"{scope}/attention/output/LayerNorm", hidden, CONTRIB_EPSILON)
        self._up = dense("intermediate/dense", hidden, shape.intermediate)
        self._activation = activations.build(
            shape.activation, store, f"{scope}/intermediate", shape.intermediate
        )
        self._down = dense("output/dense", shape.intermediate, hidden)
        self._last_norm = LayerNorm(store, f"{scope}/output/LayerNorm", hidden, CONTRIB_EPSILON)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None = None) -> tf.Tensor:
        tokens = tf.reshape(inputs, [-1, self.outputs])
        context = self._attention(inputs, tokens, run, seen)
        attended = self._output(tf.reshape(context, [-1, self.outputs]), run)
        attended = self._norm(self._dropped(attended, run, "attention") + tokens, run)
        found = self._down(self._activation(self._up(attended, run), run), run)
        found = self._last_norm(self._dropped(found, run, "output") + attended, run)
        return tf.ensure_shape(tf.reshape(found, tf.shape(inputs)), inputs.shape)

    def _attention(
        self, inputs: tf.Tensor, tokens: tf.Tensor, run: ForwardContext, seen: tf.Tensor | None
    ) -> tf.Tensor:
        shape, heads = self._shape, self._shape.heads
        query, key, value = (
            _heads(part(tokens, run), inputs, heads) for part in (self._query, self._key, self._value)
        )
        scores = tf.matmul(query, key, transpose_b=True) / math.sqrt(shape.hidden // heads)
        probabilities = softmax(scores, None if seen is None else seen[:, None, None, :], _FLOOR)
        rate = shape.attention_dropout if run.training else 0.0
        seed = run.seed_for(f"{self._scope}/probabilities") if rate > 0.0 else None
        return join_heads(attend(probabilities, value, rate, seed))

    def _dropped(self, x: tf.Tensor, run: ForwardContext, place: str) -> tf.Tensor:
        rate = self._shape.hidden_dropout
        if rate == 0.0 or not run.training:
            return x
        return dropped(x, rate, run.seed_for(f"{self._scope}/{place}"))


def _heads(x: tf.Tensor, like: tf.Tensor, heads: int) -> tf.Tensor:
    shape = tf.shape(like)
    return split_heads(tf.ensure_shape(tf.reshape(x, shape), [None, None, x.shape[1]]), heads)
