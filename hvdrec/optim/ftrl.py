"""FTRL-Proximal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer, Schedule
from hvdrec.optim.schedules.registry import build_schedule

ACCUMULATOR = "Ftrl"
LINEAR = "Ftrl_1"


class Ftrl(Optimizer):
    """FTRL-Proximal (McMahan et al., 2013), like `tf.compat.v1.train.FtrlOptimizer`.

    A weight is recomputed from its slots at each update, so it is exactly 0 while the absolute value of its
    linear slot is at most `l1`. A row without a gradient doesn't change.
    """

    tells_rows_apart = True

    def __init__(
        self,
        schedule: Schedule,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        l2_shrinkage: float = 0.0,
    ) -> None:
        """Sets up FTRL.

        Args:
            schedule: The learning rate.
            learning_rate_power: The exponent of the accumulator in the rate, at most 0.
            initial_accumulator_value: The initial value of the accumulators, at least 0.
            l1: L1 strength, at least 0.
            l2: L2 strength (a stabiliser), at least 0.
            l2_shrinkage: L2 strength that adds ``2 * l2_shrinkage * variable`` to the gradient in
                the linear slot, at least 0.
        """
        super().__init__(schedule)
        self.initial_accumulator_value = initial_accumulator_value
        self.strengths: dict[str, float] = {"l1": l1, "l2": l2, "lr_power": learning_rate_power}
        self.l2_shrinkage = l2_shrinkage

    def create_slots(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the accumulators and the linear slots."""
        self.add_slot(ACCUMULATOR, variables, self.initial_accumulator_value)
        self.add_slot(LINEAR, variables)

    def apply_dense(self, gradient: tf.Tensor, variable: tf.Variable, rate: tf.Tensor) -> None:
        """One fused pass."""
        arguments = self._arguments(variable, rate)
        if self.l2_shrinkage > 0.0:
            tf.raw_ops.ResourceApplyFtrlV2(grad=gradient, l2_shrinkage=self.l2_shrinkage, **arguments)
        else:
            tf.raw_ops.ResourceApplyFtrl(grad=gradient, **arguments)

    def apply_rows(self, gradient: RowGradient, variable: tf.Variable, rate: tf.Tensor) -> None:
        """Updates only the given rows."""
        arguments = self._arguments(variable, rate)
        arguments.update(grad=gradient.values, indices=gradient.rows)
        if self.l2_shrinkage > 0.0:
            tf.raw_ops.ResourceSparseApplyFtrlV2(l2_shrinkage=self.l2_shrinkage, **arguments)
        else:
            tf.raw_ops.ResourceSparseApplyFtrl(**arguments)

    def _arguments(self, variable: tf.Variable, rate: tf.Tensor) -> dict[str, Any]:
        return {
            "var": variable.handle,
            "accum": self.slot(ACCUMULATOR, variable).handle,
            "linear": self.slot(LINEAR, variable).handle,
            "lr": rate,
            **self.strengths,
        }


def build(config: optimizer_pb2.FtrlOptimizer) -> Ftrl:
    """Builds it from `ftrl_optimizer`."""
    if config.learning_rate_power > 0.0:
        raise ConfigError(f"learning_rate_power: must be at most 0, is {config.learning_rate_power:g}")
    for field in ("initial_accumulator_value", "l1_reg", "l2_reg", "l2_shrinkage_reg"):
        if getattr(config, field) < 0.0:
            raise ConfigError(f"{field}: must be at least 0, is {getattr(config, field):g}")
    return Ftrl(
        build_schedule(config.learning_rate),
        learning_rate_power=config.learning_rate_power,
        initial_accumulator_value=config.initial_accumulator_value,
        l1=config.l1_reg,
        l2=config.l2_reg,
        l2_shrinkage=config.l2_shrinkage_reg,
    )
