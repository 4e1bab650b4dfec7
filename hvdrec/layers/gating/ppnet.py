"""PPNet: an MLP with layers gated by user information."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.ppnet import x_and_prior
from hvdrec.config.layers.spec import LayerConfig
from hvdrec.layers import activations, initializers
from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.mlp import rich_layers
from hvdrec.layers.layer import Layer, LayerBuild
from hvdrec.layers.tensors import dropped
from hvdrec.layers.variables import VariableStore


class PPNet(Layer):
    """An MLP with a gate at each layer (Chang et al. 2023, PEPNet, section 3.3)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates ``layer_<i>`` and ``gate_<i>``."""
        super().__init__()
        config = build.config
        x, prior = x_and_prior(build.inputs)
        self._full = config.full_gate_input
        self._eager = config.mode == "eager"
        gated = [x, *config.mlp.hidden_units]
        gated, first = (gated[:-1], 0) if self._eager else (gated[1:], 1)
        inputs = prior + x if self._full else prior
        self._gates = [
            _GateNN(build.store, f"{build.scope}/gate_{i}", config.gate_params, inputs, width)
            for i, width in enumerate(gated, first)
        ]
        self._layers = rich_layers(dataclasses.replace(build, config=config.mlp), x)
        self.outputs = self._layers[-1].outputs

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> tf.Tensor:
        """Maps x [B, D] and p [B, P] to [B, outputs]."""
        x, prior = inputs
        if self._full:
            prior = tf.concat([tf.stop_gradient(x), prior], axis=1)
        for layer, gate in zip(self._layers, self._gates, strict=True):
            if self._eager:
                x = layer(x * gate(prior, run), run)
            else:
                x = layer(x, run)
                x *= gate(prior, run)
        return x


class _GateNN(Layer):
    """A gate: two dense layers, the last one between 0 and 2."""

    def __init__(
        self, store: VariableStore, scope: str, params: LayerConfig, inputs: int, outputs: int
    ) -> None:
        super().__init__()
        self.outputs, self._scope, self._dropout = outputs, scope, params.dropout_rate
        hidden, bias = params.hidden_dim or outputs, not params.use_bn
        initializer = initializers.named("he_uniform")
        self._hidden = Dense(
            store,
            f"{scope}/{store.automatic('dense')}",
            inputs,
            hidden,
            use_bias=bias,
            kernel_initializer=initializer,
        )
        self._norm = (
            BatchNorm(store, f"{scope}/{store.automatic('batch_normalization')}", hidden)
            if params.use_bn
            else None
        )
        self._activation = activations.build_unnamed(params.activation, store, scope, hidden)
        self._weight = Dense(
            store,
            f"{scope}/weight",
            hidden,
            outputs,
            use_bias=bias,
            activation="sigmoid",
            kernel_initializer=initializer,
        )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        x = self._hidden(inputs, run)
        if self._norm is not None:
            x = self._norm(x, run)
        x = self._activation(x, run)
        if self._dropout > 0.0 and run.training:
            x = dropped(x, self._dropout, run.seed_for(self._scope))
        return 2.0 * self._weight(x, run)


def build(build: LayerBuild) -> PPNet:
    """Builds PPNet."""
    return PPNet(build)
