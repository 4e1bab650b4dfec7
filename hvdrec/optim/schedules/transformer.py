"""The Transformer's schedule."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError


class Transformer:
    """``base * hidden_size^-0.5 * min((k*t + 1) * (k*warmup)^-1.5, (k*t + 1)^-0.5)`` at step t.

    Vaswani et al. (2017), section 5.3, as in EasyRec; k is `step_scaling_rate`.
    """

    def __init__(
        self, base: float, hidden_size: int, warmup_steps: int, step_scaling_rate: float = 1.0
    ) -> None:
        """Keeps the numbers, all above 0."""
        self.base, self.hidden_size = base, hidden_size
        self.warmup_steps, self.step_scaling_rate = warmup_steps, step_scaling_rate

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate, float32 scalar, at `step` (int64 scalar)."""
        done = tf.cast(step, tf.float32) * self.step_scaling_rate + 1.0
        warmup = tf.constant(self.warmup_steps, tf.float32) * self.step_scaling_rate
        return self.hidden_size**-0.5 * tf.minimum(done * warmup**-1.5, done**-0.5) * self.base


def build(config: optimizer_pb2.TransformerLearningRate) -> Transformer:
    """Builds it from `transformer_learning_rate`."""
    for field in ("hidden_size", "warmup_steps", "step_scaling_rate"):
        if getattr(config, field) <= 0:
            raise ConfigError(f"{field}: must be above 0, is {getattr(config, field):g}")
    return Transformer(
        config.learning_rate_base, config.hidden_size, config.warmup_steps, config.step_scaling_rate
    )
