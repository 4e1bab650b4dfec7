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
    """Adam that leaves rows without a gradient as they are, as EasyRec's `AdamOptimizerS`.

    Dense variables are updated as by Adam. The bias correction goes by the steps of the run, not
    by how often a row was met. An update costs the touched rows only.
    """

    tells_rows_apart = True

    def defer(self, banks: Sequence[Bank], fewest: int, averages: Averages | None = None) -> list[str]:
        """Nothing is there to defer."""
        return []

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Only the rows with a gradient move."""
        self.apply_touched(gradient, variable, rate)


def build(config: optimizer_pb2.LazyAdamOptimizer) -> LazyAdam:
    """Builds it from `lazy_adam_optimizer`."""
    return LazyAdam(build_schedule(config.learning_rate), config.beta1, config.beta2)
