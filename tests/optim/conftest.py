"""Runs an optimizer and its TensorFlow 1 counterpart in parallel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.base import Optimizer
from hvdrec.optim.registry import build_optimizer

STEPS = 25
ROWS, WIDTH, TOUCHED = 12, 4, 5


@dataclasses.dataclass
class Problem:
    """First values and gradients: a dense variable and a table of which a step touches some rows."""

    kernel: np.ndarray
    table: np.ndarray
    kernel_gradients: np.ndarray  # [STEPS, 3, 2]
    rows: np.ndarray  # [STEPS, TOUCHED], distinct within a step; the last table row is never met
    row_gradients: np.ndarray  # [STEPS, TOUCHED, WIDTH]


@pytest.fixture
def problem() -> Problem:
    random = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    rows = np.stack([random.permutation(ROWS - 1)[:TOUCHED] for _ in range(STEPS)]).astype(np.int32)
    gradients = normal(STEPS, TOUCHED, WIDTH)
    gradients[:, 0] = 0.0  # a row that is touched and whose gradient is zero
    return Problem(normal(3, 2), normal(ROWS, WIDTH), normal(STEPS, 3, 2), rows, gradients)


@pytest.fixture
def build() -> Callable[[str], Optimizer]:
    return lambda text: build_optimizer(text_format.Parse(text, optimizer_pb2.Optimizer()))


Values = dict[str, np.ndarray]


def run_ours(optimizer: Optimizer, problem: Problem) -> list[Values]:
    """Values of all variables and slots, by checkpoint name, after every step."""
    kernel = tf.Variable(problem.kernel, name="kernel")
    table = tf.Variable(problem.table, name="table")
    step = tf.Variable(0, dtype=tf.int64)
    optimizer.create_slots([kernel, table])

    @tf.function(autograph=False)
    def update(dense: tf.Tensor, rows: tf.Tensor, values: tf.Tensor) -> None:
        optimizer.apply([(dense, kernel), (RowGradient(rows, values), table)], step)
        step.assign_add(1)

    named = {"kernel": kernel, "table": table, **optimizer.scalars}
    for slot, variables in optimizer.slots.items():
        named.update({f"{name}/{slot}": variable for name, variable in variables.items()})
    result = []
    for i in range(STEPS):
        update(problem.kernel_gradients[i], problem.rows[i], problem.row_gradients[i])
        result.append({name: variable.numpy() for name, variable in named.items()})
    return result


def run_tf1(
    make: Callable[[], tf.compat.v1.train.Optimizer], problem: Problem, weight_decay: float = 0.0
) -> list[Values]:
    """The same with a TensorFlow 1 optimizer in a graph; a row's gradient arrives in two halves."""
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        kernel = tf1.get_variable("kernel", initializer=problem.kernel, use_resource=True)
        table = tf1.get_variable("table", initializer=problem.table, use_resource=True)
        dense = tf1.placeholder(tf.float32, [3, 2])
        rows = tf1.placeholder(tf.int32, [None])
        values = tf1.placeholder(tf.float32, [None, WIDTH])
        decays = []
        if weight_decay:
            decays = [
                kernel.assign_sub(weight_decay * kernel),
                table.scatter_sub(tf.IndexedSlices(weight_decay * tf.gather(table, rows), rows)),
            ]
        halves = tf.IndexedSlices(
            tf.concat([0.25 * values, 0.75 * values], 0), tf.concat([rows, rows], 0), (ROWS, WIDTH)
        )
        with tf.control_dependencies(decays):
            update = make().apply_gradients([(tf.identity(dense), kernel), (halves, table)])
        session.run(tf1.global_variables_initializer())
        names = {v.op.name: v for v in tf1.global_variables()}
        result = []
        for i in range(STEPS):
            feed = {
                dense: problem.kernel_gradients[i],
                rows: problem.rows[i],
                values: problem.row_gradients[i],
            }
            session.run(update, feed)
            result.append(session.run(names))
        return result


def assert_same(ours: list[Values], theirs: list[Values]) -> None:
    for step, (mine, reference) in enumerate(zip(ours, theirs, strict=True)):
        assert set(mine) == set(reference)
        for name in reference:
            np.testing.assert_allclose(
                mine[name], reference[name], rtol=2e-6, atol=2e-6, err_msg=f"{name} after step {step}"
            )


@pytest.fixture
def check_against_tf1(
    build: Callable[[str], Optimizer], problem: Problem
) -> Callable[[str, Callable[[], tf.compat.v1.train.Optimizer]], None]:
    """Compares a config's optimizer with a TensorFlow 1 optimizer, slots and all, step by step."""

    def check(text: str, make: Callable[[], tf.compat.v1.train.Optimizer], weight_decay: float = 0.0) -> None:
        assert_same(run_ours(build(text), problem), run_tf1(make, problem, weight_decay))

    return check


@pytest.fixture
def run(build: Callable[[str], Optimizer], problem: Problem) -> Callable[[str], list[Values]]:
    """All values after every step of a config's optimizer."""
    return lambda text: run_ours(build(text), problem)
