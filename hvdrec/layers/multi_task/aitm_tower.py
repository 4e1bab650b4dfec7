"""The towers of AITM."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.mlp import MLP
from hvdrec.layers.layer import Inputs, Layer, LayerBuild


class AITMTower(Layer):
    """A task's tower that uses the towers of earlier tasks (Xi et al. 2021, equations 3 to 6)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``transfer`` and for each tower ``query_<i>``, ``key_<i>`` and ``value_<i>``."""
        super().__init__()
        config = build.config
        widths = build.inputs if isinstance(build.inputs, list) else [build.inputs]
        own, *others = (width for width in widths if isinstance(width, int))
        alone = not isinstance(build.inputs, list)
        self.outputs = own if alone else config.project_dim or own
        self._stop = config.stop_gradient
        self._transfer = None
        if config.transfer_mlp is not None and others:
            self._transfer = MLP(build.part("transfer", config.transfer_mlp, others[0]))
            others = [config.transfer_mlp.hidden_units[-1]] * len(others)

        def dense(name: str, width: int) -> Dense:
            return Dense(build.store, f"{build.scope}/{name}", width, self.outputs)

        self._heads = [
            [dense(f"{part}_{i}", width) for part in ("query", "key", "value")]
            for i, width in enumerate([] if alone else [own, *others])
        ]

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps a tower [B, D] and those it depends on [B, D_i] to [B, outputs]; a single one to itself."""
        if not isinstance(inputs, Sequence):
            return inputs
        own, *others = inputs
        towers = [own, *(self._passed(tower, run) for tower in others)]
        # Only the first tower's query is used; the others exist for EasyRec's checkpoints.
        query = self._heads[0][0](own, run)
        keys = tf.stack([head[1](x, run) for head, x in zip(self._heads, towers, strict=True)], axis=1)
        values = tf.stack([head[2](x, run) for head, x in zip(self._heads, towers, strict=True)], axis=1)
        scores = tf.linalg.matvec(keys, query) / math.sqrt(self.outputs)
        return tf.linalg.matvec(values, tf.nn.softmax(scores, axis=1), transpose_a=True)

    def _passed(self, tower: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        x = tf.stop_gradient(tower) if self._stop else tower
        return x if self._transfer is None else self._transfer(x, run)


def build(build: LayerBuild) -> AITMTower:
    """Builds AITMTower."""
    return AITMTower(build)
