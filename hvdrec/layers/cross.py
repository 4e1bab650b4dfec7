"""The cross network of DCN."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.variables import VariableStore


class CrossNet(tf.Module):
    """x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l (Wang et al. 2017, DCN, eq. 3)."""

    def __init__(self, store: VariableStore, layers: int, width: int) -> None:
        """Makes ``cross_layer_<l>_{w,b}`` [width] for each of the `layers`."""
        super().__init__()
        self._weights = [
            (store.create(f"cross_layer_{i}_w", (width,)), store.create(f"cross_layer_{i}_b", (width,)))
            for i in range(layers)
        ]

    def __call__(self, x0: tf.Tensor) -> tf.Tensor:
        """Maps [B, width] to [B, width]."""
        x = x0
        for w, b in self._weights:
            x = x0 * tf.linalg.matvec(x, w)[:, None] + b + x
        return x
