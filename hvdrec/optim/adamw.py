"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.adam import Adam
from hvdrec.optim.base import Schedule
from hvdrec.optim.schedules.registry import build_schedule
from hvdrec.optim.weight_decay import decay, decay_rows


class AdamW(Adam):
    """Adam after ``variable -= weight_decay * variable``, as in EasyRec (Loshchilov and Hutter, 2019).

    The decay applies to every variable, including biases and batch norm, and isn't multiplied by the learning
    rate. In a table it applies to the rows with a gradient, while Adam updates all rows.
    """

    tells_rows_apart = True
    _conditional = False

    def __init__(
        self, schedule: Schedule, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999
    ) -> None:
        """Sets up AdamW.

        Args:
            schedule: The learning rate.
            weight_decay: The fraction of a weight removed at each step.
            beta1: Decay of the first moment.
            beta2: Decay of the second moment.
        """
        super().__init__(schedule, beta1, beta2, name="AdamW")
        self.weight_decay = weight_decay

    def apply_all_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        """Decays, then updates."""
        for variable in (v for _, v in gradients if not self.is_deferred(v)):
            with self.placement.at(variable):
                decay(variable, self.weight_decay)
        super().apply_all_dense(gradients, rate)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Decays the touched rows, then updates all."""
        if not self.is_deferred(variable):
            decay_rows(gradient, variable, self.weight_decay)
        super().apply_rows(gradient, variable, rate)


def build(config: optimizer_pb2.AdamWOptimizer) -> AdamW:
    """Builds it from `adamw_optimizer`."""
    return AdamW(build_schedule(config.learning_rate), config.weight_decay, config.beta1, config.beta2)
