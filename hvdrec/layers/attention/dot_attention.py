"""EasyRec's block Attention: one head without projections."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.attention import query_value_key
from hvdrec.layers import initializers
from hvdrec.layers.attention.scores import attend, causal, softmax
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths

#: Added to the score of a masked position.
_FLOOR = -1e9


class Attention(Layer):
    """Values weighted by how well queries match their keys (Luong et al. 2015)."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Creates the scalars ``scale`` and ``concat_score_weight``, if enabled."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        query, value, _ = query_value_key(build.inputs)
        self._scope, self._dropout, self._columns = scope, config.dropout, query[1]
        self._causal, self._scores_too = config.use_causal_mask, config.return_attention_scores
        self._scale = store.create(f"{scope}/scale", (), initializers.ones) if config.use_scale else None
        self._concat = None
        if config.score_mode == "concat":
            self._concat = store.create(f"{scope}/concat_score_weight", (), initializers.ones)
        self._by_columns = config.scale_by_dim
        result = (query[0], value[1])
        self.outputs = [result, (query[0], value[0])] if self._scores_too else result

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> Inputs:
        """Maps queries [B, Q, D], values [B, T, E] and keys [B, T, D] to [B, Q, E]."""
        query, value, key = [*inputs, inputs[1]][:3]
        seen = causal(query, key) if self._causal else None
        shares = softmax(self._scores(query, key), seen, _FLOOR)
        training = run.training and self._dropout > 0.0
        seed = run.seed_for(self._scope) if training else None
        result = attend(shares, value, self._dropout, seed)
        return [result, shares] if self._scores_too else result

    def _scores(self, query: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
        if self._concat is not None:
            both = query[:, :, None] + key[:, None]
            scaled = both if self._scale is None else self._scale * both
            return self._concat * tf.reduce_sum(tf.tanh(scaled), axis=3)
        scores = tf.matmul(query, key, transpose_b=True)
        if self._scale is not None:
            return scores * self._scale
        return scores / math.sqrt(self._columns) if self._by_columns else scores


def build(build: LayerBuild) -> Attention:
    """Builds Attention."""
    return Attention(build)
