"""A transformer over token ids."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.attention.transformer_block import Block, BlockShape, as_mask
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild, Widths
from hvdrec.layers.tensors import dropped


class TransformerEncoder(Layer):
    """Embeddings of tokens and of their positions, then blocks (Vaswani et al. 2017)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``pos_embedding/embedding/embeddings`` [vocab_size, hidden_size] and ``layer_<i>``."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        width, length = config.hidden_size, config.max_position_embeddings
        shape = BlockShape(
            width,
            config.num_attention_heads,
            config.intermediate_size or width,
            config.hidden_act,
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
        )
        self._scope, self._dropout, self._width = scope, shape.dropout, width
        self._all = config.output_all_token_embeddings
        self.outputs = (None, width) if self._all else width
        self._table = store.create(
            f"{scope}/pos_embedding/{store.automatic('embedding')}/embeddings",
            (config.vocab_size, width),
            initializers.uniform(0.05),
        )
        self._positions = positions(length, width)
        self._blocks = [
            Block(store, f"{scope}/layer_{i}", shape, (None, width)) for i in range(config.num_hidden_layers)
        ]

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps ids [B, T] and their mask [B, T], or lengths [B], to tokens, or to the first one."""
        ids, mask = inputs
        mask = as_mask(mask, tf.shape(ids)[1])
        ids, mask = (each[:, : len(self._positions)] for each in (tf.cast(ids, tf.int32), mask))
        x = tf.gather(self._table, ids) * math.sqrt(self._width)
        x += tf.constant(self._positions)[: tf.shape(ids)[1]]
        if self._dropout > 0.0 and run.training:
            x = dropped(x, self._dropout, run.seed_for(f"{self._scope}/embedding"))
        for block in self._blocks:
            x = block([x, mask], run)
        return x if self._all else x[:, 0]


def positions(length: int, width: int) -> np.ndarray:
    """Sines, then cosines, of positions at geometric frequencies: float32 [length, width]."""
    half = width // 2
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(half)[None, :] / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def build(build: LayerBuild) -> TransformerEncoder:
    """Builds TransformerEncoder."""
    return TransformerEncoder(build)
