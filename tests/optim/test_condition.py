"""Updates under a condition: bit-equal to the updates alone where it holds, nothing where it doesn't."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.variables import variable_key
from hvdrec.ops.updates import Average, move_averages
from hvdrec.optim.base import Optimizer
from hvdrec.optim.moving_average import MovingAverage
from hvdrec.optim.registry import build_optimizer, build_optimizers

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"
TEXTS = {
    "adam": f"adam_optimizer {{ {RATE} }}",
    "adamw": f"adamw_optimizer {{ {RATE} weight_decay: 0.01 }}",
    "lazy": f"lazy_adam_optimizer {{ {RATE} }}",
    "ftrl": f"ftrl_optimizer {{ {RATE} }}",
    "momentum": f"momentum_optimizer {{ {RATE} }}",
}


def _parsed(name: str) -> optimizer_pb2.Optimizer:
    return text_format.Parse(TEXTS[name], optimizer_pb2.Optimizer())


def _build(name: str) -> Optimizer:
    if name == "averaged":
        return MovingAverage(build_optimizer(_parsed("adam")), 0.9)
    if name == "two":
        configs = [_parsed("adam"), _parsed("adam")]
        return build_optimizers(configs, lambda v: 0 if variable_key(v) == "table" else 1)
    return build_optimizer(_parsed(name))


class Run:
    """An optimizer with a dense variable and a table."""

    def __init__(self, problem, name: str) -> None:
        self.problem, self.optimizer = problem, _build(name)
        self.kernel = tf.Variable(problem.kernel, name="kernel")
        self.table = tf.Variable(problem.table, name="table")
        self.optimizer.create_slots([self.kernel, self.table])
        self.update = tf.function(self._update, autograph=False)

    def _update(self, i: tf.Tensor, when: tf.Tensor) -> None:
        rows, values = self.problem.rows, self.problem.row_gradients
        gradients = [
            (tf.gather(self.problem.kernel_gradients, i), self.kernel),
            (RowGradient(tf.gather(rows, i), tf.gather(values, i)), self.table),
        ]
        self.optimizer.apply_when(when, gradients, tf.cast(i, tf.int64))

    def state(self) -> list[np.ndarray]:
        slots = [v for of in self.optimizer.slots.values() for v in of.values()]
        return [v.numpy() for v in (self.kernel, self.table, *slots, *self.optimizer.scalars.values())]


@pytest.mark.parametrize("name", [*TEXTS, "two", "averaged"])
def test_a_step_without_the_condition_changes_nothing(problem, name: str) -> None:
    some, all_of_them = Run(problem, name), Run(problem, name)
    for i in range(12):
        index = tf.constant(i)
        holds = i % 3 != 1
        before = some.state()
        some.update(index, tf.constant(holds))
        if holds:
            all_of_them.update(index, tf.constant(True))
        else:
            np.testing.assert_equal(some.state(), before)
        np.testing.assert_equal(some.state(), all_of_them.state())
    assert any(
        (now != first).any() for now, first in zip(some.state(), Run(problem, name).state(), strict=True)
    )


def test_adam_needs_no_conditional_operations(problem) -> None:
    graph = Run(problem, "adam").update.get_concrete_function(tf.constant(0), tf.constant(True)).graph
    assert not {"If", "StatelessIf"} & {op.type for op in graph.get_operations()}


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
@pytest.mark.parametrize("when", [True, False])
def test_averages(impl: str, when: bool) -> None:
    average = tf.Variable([1.0, 2.0])
    value = tf.constant([3.0, 6.0 if when else np.nan])
    move_averages([Average(average, value, 0.25)], tf.constant(when), impl=impl)
    np.testing.assert_array_equal(average, [1.5, 3.0] if when else [1.0, 2.0])
