from __future__ import annotations

import numpy as np
import pytest

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


@pytest.mark.parametrize(
    ("field", "slot", "decay"),
    [("adam_async_optimizer", "AdamAsync", 0.0), ("adam_asyncw_optimizer", "AdamAsyncW", 0.01)],
)
def test_steps_equal_a_float64_oracle(run, problem, field, slot, decay):
    """DeepRec's formula, in which each variable has its own powers of the betas, on touched rows only."""
    decaying = f"weight_decay: {decay}" if decay else ""
    values = run(f"{field} {{ {RATE} beta1: 0.8 beta2: 0.99 {decaying} }}")
    kernel, table = problem.kernel.astype(np.float64), problem.table.astype(np.float64)
    slots = {"kernel": np.zeros((2, *kernel.shape)), "table": np.zeros((2, *table.shape))}
    powers = dict.fromkeys(slots, (0.8, 0.99))
    for i, (dense, rows) in enumerate(zip(problem.kernel_gradients, problem.rows, strict=True)):
        every = np.arange(len(kernel))
        for name, variable, touched, g in (
            ("kernel", kernel, every, dense.astype(np.float64)),
            ("table", table, rows, problem.row_gradients[i].astype(np.float64)),
        ):
            first, second = powers[name]
            alpha = 0.05 * np.sqrt(1 - second) / (1 - first)
            m, v = slots[name]
            variable[touched] -= decay * variable[touched]
            m[touched] = 0.8 * m[touched] + (1 - 0.8) * g
            v[touched] = 0.99 * v[touched] + (1 - 0.99) * g * g
            variable[touched] -= alpha * m[touched] / (np.sqrt(v[touched]) + 1e-8)
            powers[name] = first * 0.8, second * 0.99
            np.testing.assert_allclose(values[i][name], variable, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(values[i][f"{name}/{slot}"], m, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(values[i][f"{name}/{slot}_1"], v, rtol=1e-4, atol=1e-7)
