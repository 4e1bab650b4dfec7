from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.optim.adam import Adam
from hvdrec.optim.schedules.constant import Constant

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_steps_equal_tf1(check_against_tf1):
    check_against_tf1(f"adam_optimizer {{ {RATE} }}", lambda: tf.compat.v1.train.AdamOptimizer(0.05))


def test_betas_of_the_config(check_against_tf1):
    check_against_tf1(
        f"adam_optimizer {{ {RATE} beta1: 0.5 beta2: 0.9 }}",
        lambda: tf.compat.v1.train.AdamOptimizer(0.05, beta1=0.5, beta2=0.9),
    )


def test_rows_without_a_gradient_move_on(run, problem):
    values = run(f"adam_optimizer {{ {RATE} }}")
    before, after = values[3]["table"], values[4]["table"]
    met = {int(r) for step in problem.rows[:4] for r in step}
    idle = sorted(met - {int(r) for r in problem.rows[4]})
    assert idle
    assert np.all(before[idle].any(axis=1))
    assert np.all((before[idle] != after[idle]).any(axis=1))
    np.testing.assert_array_equal(values[-1]["table"][-1], problem.table[-1])


def test_many_steps_in_a_while_loop(problem):
    """The trainer's way: several steps in one call, with the update under a condition."""

    def make() -> tuple[Adam, list[tf.Variable]]:
        variables = [
            tf.Variable(problem.kernel, name="kernel"),
            tf.Variable(problem.table, name="table"),
        ]
        optimizer = Adam(Constant(0.05))
        optimizer.create_slots(variables)
        return optimizer, variables

    looped, looped_variables = make()
    plain, plain_variables = make()
    steps = len(problem.rows)

    def apply(optimizer: Adam, variables: list[tf.Variable], i: tf.Tensor) -> None:
        table = RowGradient(tf.gather(problem.rows, i), tf.gather(problem.row_gradients, i))
        dense = tf.gather(problem.kernel_gradients, i)
        optimizer.apply([(dense, variables[0]), (table, variables[1])], tf.cast(i, tf.int64))

    @tf.function(autograph=False)
    def run() -> None:
        def body(i: tf.Tensor) -> tuple[tf.Tensor]:
            def update() -> tf.Tensor:
                apply(looped, looped_variables, i)
                return tf.constant(True)

            tf.cond(tf.math.is_finite(tf.cast(i, tf.float32)), update, lambda: tf.constant(False))
            return (i + 1,)

        tf.while_loop(lambda i: i < steps, body, (tf.constant(0),), parallel_iterations=1)

    run()
    for i in range(steps):
        apply(plain, plain_variables, tf.constant(i))
    for a, b in zip(looped_variables, plain_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        looped.scalars["beta2_power"].numpy(), plain.scalars["beta2_power"].numpy(), rtol=1e-7
    )


def test_a_dense_gradient_is_the_row_gradient_with_zeros(problem):
    """Ranks may exchange a table's gradient either way; Adam must not tell them apart."""
    results = []
    for dense in (False, True):
        table = tf.Variable(problem.table, name="table")
        optimizer = Adam(Constant(0.05))
        optimizer.create_slots([table])
        for i in range(10):
            gradient = RowGradient(tf.constant(problem.rows[i]), tf.constant(problem.row_gradients[i]))
            optimizer.apply(
                [(gradient.densify(table.shape[0]) if dense else gradient, table)], tf.constant(i)
            )
        results.append(table.numpy())
    assert not Adam.tells_rows_apart
    np.testing.assert_array_equal(*results)
