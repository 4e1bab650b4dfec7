"""Gates of features computed from all features (FiBiNET's SENet, Huang et al., RecSys 2019, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.layer import Layer
from hvdrec.layers.variables import VariableStore


class SqueezeExcite(Layer):
    """EasyRec's `SENet` of DSSM_SENet: multiplies each number of each feature by a gate.

    The maximum and the mean of each of `groups` parts of each feature go through two layers; the first has 1
    / `reduction` as many columns as there are inputs, the second as many as all features.
    """

    outputs: int

    def __init__(
        self,
        store: VariableStore,
        name: str,
        widths: Sequence[int],
        groups: int,
        reduction: int,
        l2: float,
    ) -> None:
        """Creates ``<name>/reduce`` and ``<name>/excite``.

        Args:
            store: Creates the variables.
            name: Their prefix.
            widths: Columns of each feature, each a multiple of `groups`.
            groups: `num_squeeze_group`.
            reduction: `reduction_ratio`.
            l2: `l2_regularization` of the first layer.
        """
        super().__init__()
        self._widths, self._groups = list(widths), groups
        self.outputs = sum(widths)
        squeezed = 2 * groups * len(self._widths)
        reduced = max(1, squeezed // reduction)
        self._reduce = Dense(store, f"{name}/reduce", squeezed, reduced, l2, activation="relu")
        self._excite = Dense(
            store, f"{name}/excite", reduced, self.outputs, kernel_initializer=initializers.glorot_normal
        )

    def __call__(self, inputs: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps concatenated features, float32 [B, sum of widths], to the same shape."""
        squeezed = []
        for part, width in zip(tf.split(inputs, self._widths, axis=1), self._widths, strict=True):
            groups = tf.reshape(part, [-1, self._groups, width // self._groups])
            squeezed += [tf.reduce_max(groups, axis=2), tf.reduce_mean(groups, axis=2)]
        return inputs * self._excite(self._reduce(tf.concat(squeezed, axis=1), run), run)
