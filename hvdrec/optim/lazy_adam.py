"""Lazy Adam."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.strategy import Bank
from hvdrec.optim.adam import Adam
from hvdrec.optim.base import Averages
from hvdrec.optim.schedules.registry import build_schedule


class LazyAdam(Adam):
    """Adam that doesn't change rows without a gradient, like EasyRec's `AdamOptimizerS`.

    Dense variables are updated as in Adam. The bias correction uses the steps of the run, not the number of
    updates of a row. An update costs only the touched rows.
    """

    tells_rows_apart = True
    _conditional = False

    def defer(self, banks: Sequence[Bank], required: bool, averages: Averages | None = None) -> list[str]:
        """Defers nothing."""
        return []

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the rows with a gradient."""
        self.apply_touched(gradient, variable, rate)


def build(config: optimizer_pb2.LazyAdamOptimizer) -> LazyAdam:
    """Builds it from `lazy_adam_optimizer`."""
    return LazyAdam(build_schedule(config.learning_rate), config.beta1, config.beta2)
