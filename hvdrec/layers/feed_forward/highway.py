"""Highway networks (Srivastava et al. 2015): h t + x (1 - t) with a learnt gate t."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.variables import VariableStore


class Highway(Layer):
    """EasyRec's block: a linear projection if the width changes, then highway layers."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Builds the layers over [B, D]."""
        super().__init__()
        store, scope, config = build.store, build.scope, build.config
        self._scope, self._dropout = scope, config.dropout_rate
        self.outputs = config.emb_size or build.columns
        projects = self.outputs != build.columns
        self._projection = (
            Dense(store, f"{scope}/input_projection", build.columns, self.outputs) if projects else None
        )
        bias = initializers.constant(config.init_gate_bias)
        self._layers = [
            (
                Dense(store, f"{scope}/gate_{i}", self.outputs, self.outputs, bias_initializer=bias),
                Dense(store, f"{scope}/{store.automatic('dense')}", self.outputs, self.outputs),
            )
            for i in range(config.num_layers)
        ]
        # Shared by all layers, as in EasyRec.
        self._activation = activations.build_unnamed(config.activation, store, scope, self.outputs)

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, D] to [B, outputs]."""
        x = inputs if self._projection is None else self._projection(inputs, run)
        for i, (gate, transform) in enumerate(self._layers):
            h = self._activation(transform(x, run), run)
            if self._dropout > 0.0 and run.training:
                seed = run.seed_for(f"{self._scope}/{i}")
                h = tf.nn.experimental.stateless_dropout(h, self._dropout, seed=seed)
            x = _carry(x, gate(x, run), h)
        return x


class HighwayTower(Layer):
    """The highway towers of CoMetricLearningI2I: a projection with GELU and one highway layer with GELU."""

    outputs: int

    def __init__(self, store: VariableStore, name: str, inputs: int, outputs: int) -> None:
        """Makes ``<name>/{input_projection,gate_0,activation_0}/{kernel,bias}``."""
        super().__init__()
        self.outputs = outputs
        self.projection = Dense(store, f"{name}/input_projection", inputs, outputs, activation="gelu")
        self.gate = Dense(store, f"{name}/gate_0", outputs, outputs)
        self.activation = Dense(store, f"{name}/activation_0", outputs, outputs, activation="gelu")

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, inputs] to [B, outputs]."""
        x = self.projection(inputs, run)
        return _carry(x, self.gate(x, run), self.activation(x, run))


def _carry(x: tf.Tensor, gate: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    """H t + x (1 - t) with t = sigmoid(gate)."""
    t = tf.math.sigmoid(gate)
    return h * t + x * (1.0 - t)


def build(build: LayerBuild) -> Highway:
    """Builds Highway."""
    return Highway(build)
