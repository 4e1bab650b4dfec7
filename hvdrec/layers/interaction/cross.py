"""Cross networks."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.layers.cross import one_width
from hvdrec.layers import activations, initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.variables import VariableStore


class CrossNet(Layer):
    """x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l (Wang et al. 2017, DCN, eq. 3)."""

    outputs: int

    def __init__(self, store: VariableStore, layers: int, width: int) -> None:
        """Creates ``cross_layer_<l>_{w,b}`` [width] for each of the `layers`."""
        super().__init__()
        self.outputs = width
        self._weights = [
            (store.create(f"cross_layer_{i}_w", (width,)), store.create(f"cross_layer_{i}_b", (width,)))
            for i in range(layers)
        ]

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps [B, width] to [B, width]."""
        x0 = x = inputs
        for w, b in self._weights:
            x = x0 * tf.linalg.matvec(x, w)[:, None] + b + x
        return x


class Cross(Layer):
    """EasyRec's block: x_0 (W x + b + s x) + x (Wang et al. 2021, DCN V2, eq. 1; low rank: eq. 2).

    With one input, x_0 and x are the same.
    """

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the matrices."""
        super().__init__()
        config, first = build.config, one_width(build.inputs)
        self.outputs, self._scale = first, config.diag_scale
        kernel, bias = (
            initializers.named(config.kernel_initializer),
            initializers.named(config.bias_initializer),
        )
        middle = config.projection_dim

        def dense(inputs: int, outputs: int, use_bias: bool) -> Dense:
            name = f"{build.scope}/{build.store.automatic('dense')}"
            return Dense(
                build.store,
                name,
                inputs,
                outputs,
                use_bias=use_bias,
                kernel_initializer=kernel,
                bias_initializer=bias,
            )

        self._matrices = [] if middle is None else [dense(first, middle, use_bias=False)]
        self._matrices.append(dense(middle or first, first, use_bias=config.use_bias))
        self._activation = activations.build(config.preactivation, build.store, build.scope, first)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps x [B, D], or x_0 and x, to [B, D]."""
        x0, x = (inputs[0], inputs[-1]) if isinstance(inputs, Sequence) else (inputs, inputs)
        product = x
        for matrix in self._matrices:
            product = matrix(product, run)
        product = self._activation(product, run)
        if self._scale:
            product += self._scale * x
        return x0 * product + x


def build(build: LayerBuild) -> Cross:
    """Builds Cross."""
    return Cross(build)
