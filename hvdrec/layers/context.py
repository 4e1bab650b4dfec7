"""The state of a forward pass other than its tensors."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import tensorflow as tf

from hvdrec.ops.dense_layer import Repeated
from hvdrec.ops.policy import NATIVE, TENSORFLOW, named_implementation


@dataclasses.dataclass(frozen=True)
class MovingUpdate:
    """A batch statistic for the update of a moving average.

    Attributes:
        variable: The moving average.
        value: This batch's statistic, same shape.
        momentum: ``variable = variable * momentum + value * (1 - momentum)``.
    """

    variable: tf.Variable
    value: tf.Tensor
    momentum: float


@dataclasses.dataclass
class ForwardContext:
    """One forward pass.

    Attributes:
        training: Whether batch statistics and dropout are used.
        seed: int32 [2], new for every step and rank; dropout draws from it.
        updates: Moving averages the step must apply, filled by the layers. The step applies them because
            ranks average them first, which keeps replicas bitwise equal.
        standard: Whether only TensorFlow's own operations may be used, as in an exported model.
        losses: Losses added by layers, by the names declared with `VariableStore.add_loss`; filled by the
            layers.
        impl: The implementation of dense layers in training (`hvdrec.ops.dense_layer`).
        repeated: The repeated columns of tensors, by their `ref()`; filled by those who look embeddings up.
    """

    training: bool
    seed: tf.Tensor | None = None
    updates: list[MovingUpdate] = dataclasses.field(default_factory=list)
    impl: str = "tensorflow"
    standard: bool = False
    losses: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    repeated: dict[Any, Repeated] = dataclasses.field(default_factory=dict)
    _drawn: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def text_impl(self) -> str:
        """The implementation of operations on texts."""
        return TENSORFLOW if self.standard else named_implementation() or NATIVE

    def seed_for(self, name: str) -> tf.Tensor:
        """The random seed (int32 [2]) of the layer `name` in this pass, different for each of its calls."""
        if self.seed is None:
            raise ValueError("a training pass with dropout needs a seed")
        count = self._drawn[name] = self._drawn.get(name, 0) + 1
        # The two views compared by a contrastive loss come from one layer that is called twice.
        key = name if count == 1 else f"{name}#{count}"
        # Only the low 31 bits, because stateless ops take int32 seeds.
        return self.seed + tf.constant([0, zlib.crc32(key.encode()) & 0x3FFFFFFF], tf.int32)
