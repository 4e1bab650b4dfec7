"""What one forward pass carries besides its tensors."""

from __future__ import annotations

import dataclasses
import zlib

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class MovingUpdate:
    """A batch statistic that a moving average has to follow.

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
        training: Batch statistics and dropout are used.
        seed: int32 [2], new for every step and rank; dropout draws from it.
        updates: Moving averages the step must apply, filled by the layers. They're left to the
            step because ranks average them, which keeps replicas equal to the bit.
        losses: What layers added to the model's loss, by the names they declared with
            `VariableStore.add_loss`; filled by the layers.
        impl: Which implementation of the dense layers trains (`hvdrec.ops.dense_layer`).
    """

    training: bool
    seed: tf.Tensor | None = None
    updates: list[MovingUpdate] = dataclasses.field(default_factory=list)
    impl: str = "tensorflow"
    losses: dict[str, tf.Tensor] = dataclasses.field(default_factory=dict)
    _drawn: dict[str, int] = dataclasses.field(default_factory=dict)

    def seed_for(self, name: str) -> tf.Tensor:
        """The random seed (int32 [2]) of the layer `name` in this pass, another one for each of its calls."""
        if self.seed is None:
            raise ValueError("a training pass with dropout needs a seed")
        count = self._drawn[name] = self._drawn.get(name, 0) + 1
        # The two views that a contrastive loss compares come out of one layer called twice.
        key = name if count == 1 else f"{name}#{count}"
        # Only its low 31 bits, as stateless ops take int32 seeds.
        return self.seed + tf.constant([0, zlib.crc32(key.encode()) & 0x3FFFFFFF], tf.int32)
