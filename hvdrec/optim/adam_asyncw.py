"""AdamAsync with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.adam_async import AdamAsync
from hvdrec.optim.base import Schedule
from hvdrec.optim.schedules.registry import build_schedule
from hvdrec.optim.weight_decay import decay, decay_rows


class AdamAsyncW(AdamAsync):
    """AdamAsync after ``variable -= weight_decay * variable``, as in EasyRec, not multiplied by the rate.

    In a table, both apply only to the rows with a gradient.
    """

    def __init__(
        self, schedule: Schedule, weight_decay: float, beta1: float = 0.9, beta2: float = 0.999
    ) -> None:
        """Sets up AdamAsyncW.

        Args:
            schedule: The learning rate.
            weight_decay: The fraction of a weight removed at each step.
            beta1: Decay of the first moment.
            beta2: Decay of the second moment.
        """
        super().__init__(schedule, beta1, beta2, name="AdamAsyncW")
        self.weight_decay = weight_decay

    def apply_all_dense(self, gradients: Sequence[tuple[tf.Tensor, tf.Variable]], rate: tf.Tensor) -> None:
        """Decays, then updates."""
        for _, variable in gradients:
            with self.placement.at(variable):
                decay(variable, self.weight_decay)
        super().apply_all_dense(gradients, rate)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Decays, then updates the rows with a gradient."""
        decay_rows(gradient, variable, self.weight_decay)
        super().apply_rows(gradient, variable, rate)


def build(config: optimizer_pb2.AdamAsyncWOptimizer) -> AdamAsyncW:
    """Builds it from `adam_asyncw_optimizer`."""
    return AdamAsyncW(build_schedule(config.learning_rate), config.weight_decay, config.beta1, config.beta2)
