from __future__ import annotations

import numpy as np

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_steps_equal_a_float64_oracle(run, problem):
    values = run(f"lazy_adam_optimizer {{ {RATE} }}")
    table = problem.table.astype(np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for i, (rows, g) in enumerate(zip(problem.rows, problem.row_gradients.astype(np.float64), strict=True)):
        m[rows] = 0.9 * m[rows] + 0.1 * g
        v[rows] = 0.999 * v[rows] + 0.001 * g * g
        corrected = 0.05 * np.sqrt(1 - 0.999 ** (i + 1)) / (1 - 0.9 ** (i + 1))
        table[rows] -= corrected * m[rows] / (np.sqrt(v[rows]) + 1e-8)
        np.testing.assert_allclose(values[i]["table"], table, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(values[i]["table/Adam"], m, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(values[i]["table/Adam_1"], v, rtol=1e-4, atol=1e-7)


def test_rows_without_a_gradient_stay(run, problem):
    values = run(f"lazy_adam_optimizer {{ {RATE} }}")
    for i in range(1, len(values)):
        idle = np.setdiff1d(np.arange(len(problem.table)), problem.rows[i])
        for name in ("table", "table/Adam", "table/Adam_1"):
            np.testing.assert_array_equal(values[i][name][idle], values[i - 1][name][idle])


def test_dense_variables_are_adams(run):
    lazy, exact = run(f"lazy_adam_optimizer {{ {RATE} }}"), run(f"adam_optimizer {{ {RATE} }}")
    for a, b in zip(lazy, exact, strict=True):
        for name in ("kernel", "kernel/Adam", "kernel/Adam_1", "beta1_power", "beta2_power"):
            np.testing.assert_array_equal(a[name], b[name])
