"""The bilinear interactions of FiBiNET."""

from __future__ import annotations

import itertools

import tensorflow as tf

from hvdrec.config.layers.shapes import features
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Inputs, Layer, LayerBuild
from hvdrec.layers.tensors import listed, stacked


class BiLinear(Layer):
    """Each pair of features multiplied through a matrix, then a dense layer (Huang et al. 2019, 3.4)."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the matrices ``all``, ``each_<i>`` or ``interaction_<i>_<j>``, and ``output``."""
        super().__init__()
        config, widths = build.config, features(build.inputs)
        self._pairs = list(itertools.combinations(range(len(widths)), 2))
        self._plus = config.use_plus
        self._kind = config.type.lower()

        def dense(name: str, inputs: int, outputs: int) -> Dense:
            return Dense(build.store, f"{build.scope}/{name}", inputs, outputs)

        if self._kind == "all":
            self._matrices = [dense("all", widths[0], widths[0])]
        elif self._kind == "each":
            self._matrices = [dense(f"each_{i}", widths[i], widths[i]) for i in range(len(widths) - 1)]
        else:
            self._matrices = [dense(f"interaction_{i}_{j}", widths[i], widths[j]) for i, j in self._pairs]
        products = sum(1 if self._plus else widths[j] for _, j in self._pairs)
        self.outputs = config.num_output_units
        self._output = dense("output", products, self.outputs)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps features [B, D_i] to [B, num_output_units]."""
        x = listed(inputs)
        if self._kind == "interaction":
            left = [m(x[i], run) for m, (i, _) in zip(self._matrices, self._pairs, strict=True)]
            products = [a * x[j] for a, (_, j) in zip(left, self._pairs, strict=True)]
            if self._plus:
                products = [tf.reduce_sum(p, axis=1, keepdims=True) for p in products]
            return self._output(tf.concat(products, axis=1), run)
        # All features have the same width here, so one product computes all pairs.
        matrices = self._matrices * (len(x) - 1 if self._kind == "all" else 1)
        left = tf.stack([m(v, run) for m, v in zip(matrices, x[:-1], strict=True)], axis=1)
        first, second = zip(*self._pairs, strict=True)
        both = tf.gather(left, first, axis=1) * tf.gather(stacked(x), second, axis=1)
        flat = tf.reduce_sum(both, axis=2) if self._plus else tf.reshape(both, [-1, self._output.inputs])
        return self._output(flat, run)


def build(build: LayerBuild) -> BiLinear:
    """Builds BiLinear."""
    return BiLinear(build)
