"""EasyRec's block BST: the behaviour sequence transformer on BERT's layers."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.bst import has_target
from hvdrec.config.layers.shapes import sequence
from hvdrec.layers.attention.bert import BertEncoder, BertShape
from hvdrec.layers.attention.token_encoding import TokenEncoding
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer, LayerBuild


class BST(Layer):
    """A sequence and its target as tokens of a transformer (Chen et al. 2019)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the projections, the position embeddings, the first norm and the encoder.

        EasyRec names them only after the block, and the first norm ``LayerNorm``.
        """
        super().__init__()
        store, name, config = build.store, build.name, build.config
        elements, _ = sequence(build.inputs)
        hidden = config.hidden_size
        self._scope, self._hidden, self._length = build.scope, hidden, config.max_position_embeddings
        self._all, self._head = config.output_all_token_embeddings, config.target_item_position == "head"
        self._targeted = has_target(config.target_item_position, build.inputs)
        self._reserves = config.reserve_target_position and not self._targeted
        self._project: Dense | None = None
        self._project_target: Dense | None = None
        if elements != hidden:
            self._project = Dense(store, f"{name}/seq_project", elements, hidden, build.l2, activation="relu")
            if self._targeted:
                self._project_target = Dense(
                    store, f"{name}/target_project", elements, hidden, build.l2, activation="relu"
                )
        self._elements = elements
        tokens = self._length + (self._targeted or self._reserves)
        stddev = config.initializer_range
        self._encoding = TokenEncoding(
            store,
            self._scope,
            hidden,
            places=(name, tokens) if config.use_position_embeddings else None,
            dropout=config.hidden_dropout_prob,
        )
        self._encoder = BertEncoder(
            store,
            f"{name}/transformer",
            BertShape(
                hidden,
                config.num_hidden_layers,
                config.num_attention_heads,
                config.intermediate_size,
                config.hidden_act,
                config.hidden_dropout_prob,
                config.attention_probs_dropout_prob,
                stddev,
            ),
        )
        self.outputs = tokens * hidden if self._all else hidden

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps elements [B, T, D], lengths [B] and a target [B, D] to [B, outputs]."""
        tokens = self._tokens(inputs, run)
        seen = tf.reduce_any(tf.not_equal(tokens, 0.0), axis=2)
        x = self._encoder(self._encoding(tokens, run), run, seen)
        return tf.reshape(x, [-1, self.outputs]) if self._all else x[:, 0]

    def _tokens(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """The elements, projected and cut or padded, together with the target: [B, tokens, hidden]."""
        x = inputs[0][:, : self._length]
        if self._all:
            x = tf.pad(x, [[0, 0], [0, self._length - tf.shape(x)[1]], [0, 0]])
        if self._project is not None:
            flat = self._project(tf.reshape(x, [-1, self._elements]), run)
            x = tf.reshape(flat, [tf.shape(x)[0], tf.shape(x)[1], self._hidden])
        if self._targeted:
            target = inputs[2]
            if self._project_target is not None:
                target = self._project_target(target, run)
            parts = [target[:, None], x] if self._head else [x, target[:, None]]
            return tf.concat(parts, axis=1)
        if self._reserves and self._all:
            x = tf.pad(x, [[0, 0], [0, 1], [0, 0]])
        return x


def build(build: LayerBuild) -> BST:
    """Builds BST."""
    return BST(build)
