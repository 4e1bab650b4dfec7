from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.optim.schedules.registry import BUILDERS, build_schedule


def schedule(text: str):
    return build_schedule(text_format.Parse(text, optimizer_pb2.LearningRate()))


def rates(text: str, steps) -> list[float]:
    """Inside a tf.function, as in training."""
    function = schedule(text)
    traced = tf.function(lambda s: function(s), input_signature=[tf.TensorSpec([], tf.int64)])
    values = [traced(tf.constant(s, tf.int64)) for s in steps]
    assert all(v.dtype == tf.float32 and v.shape == () for v in values)
    return [float(v) for v in values]


def test_every_schedule_of_the_proto_is_built():
    fields = optimizer_pb2.LearningRate.DESCRIPTOR.oneofs_by_name["learning_rate"].fields
    assert {f.name for f in fields} == set(BUILDERS)


def test_constant():
    assert rates("constant_learning_rate {}", [0, 10**9]) == pytest.approx([0.002] * 2)


@pytest.mark.parametrize("model", ["deepfm_adult", "multi_tower_two_losses_adult"])
def test_exponential_decay_is_the_golden_run_s(shared, model):
    with open(shared / "golden" / model / "loss_trace.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    name = next(key for key in rows[0] if "rate" in key or key == "lr")
    text = (
        "exponential_decay_learning_rate { initial_learning_rate: 0.002 decay_steps: 40 "
        "decay_factor: 0.5 min_learning_rate: 0.0001 }"
    )
    np.testing.assert_allclose(rates(text, range(len(rows))), [float(r[name]) for r in rows], rtol=1e-6)


@pytest.mark.parametrize("staircase", [True, False])
def test_exponential_decay_equals_tensorflow(staircase):
    text = (
        "exponential_decay_learning_rate { initial_learning_rate: 0.1 decay_steps: 7 decay_factor: 0.3 "
        f"staircase: {str(staircase).lower()} }}"
    )
    steps = range(0, 60, 3)
    wanted = [
        float(tf.compat.v1.train.exponential_decay(0.1, s, 7, 0.3, staircase=staircase)()) for s in steps
    ]
    np.testing.assert_allclose(rates(text, steps), wanted, rtol=1e-6)


def test_exponential_decay_burns_in_and_stops_at_the_minimum():
    text = (
        "exponential_decay_learning_rate { initial_learning_rate: 1 decay_steps: 10 decay_factor: 0.1 "
        "burnin_learning_rate: 0.2 burnin_steps: 4 min_learning_rate: 0.3 }"
    )
    found = rates(text, [0, 1, 2, 3, 4, 13, 14, 23, 24])
    assert found == pytest.approx([0.3, 0.4, 0.6, 0.8, 1.0, 1.0, 0.3, 0.3, 0.3])


def test_burn_in_without_a_rate_holds_the_base():
    text = "exponential_decay_learning_rate { initial_learning_rate: 1 decay_steps: 1 burnin_steps: 3 }"
    assert rates(text, [0, 2, 3, 4]) == pytest.approx([1.0, 1.0, 1.0, 0.95])


def test_manual_step():
    text = (
        "manual_step_learning_rate { initial_learning_rate: 1 schedule { step: 3 learning_rate: 0.5 } "
        "schedule { step: 5 learning_rate: 0.1 } }"
    )
    assert rates(text, range(7)) == pytest.approx([1, 1, 1, 0.5, 0.5, 0.1, 0.1])


def test_manual_step_warms_up_to_its_first_step():
    text = (
        "manual_step_learning_rate { initial_learning_rate: 0 schedule { step: 4 learning_rate: 1 } "
        "schedule { step: 6 learning_rate: 0.1 } warmup: true }"
    )
    assert rates(text, range(8)) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 0.1, 0.1])


def test_cosine_decay():
    text = (
        "cosine_decay_learning_rate { learning_rate_base: 1 total_steps: 20 warmup_learning_rate: 0.2 "
        "warmup_steps: 4 hold_base_rate_steps: 6 }"
    )

    def wanted(t: int) -> float:
        if t > 20:
            return 0.0
        if t < 4:
            return 0.2 + 0.2 * t
        return 1.0 if t <= 10 else 0.5 * (1 + math.cos(math.pi * (t - 10) / 10))

    steps = range(25)
    np.testing.assert_allclose(rates(text, steps), [wanted(t) for t in steps], rtol=1e-6, atol=1e-7)


def test_cosine_decay_with_nothing_left_for_the_cosine():
    text = (
        "cosine_decay_learning_rate { learning_rate_base: 1 total_steps: 4 warmup_learning_rate: 0.2 "
        "warmup_steps: 4 }"
    )
    assert rates(text, [0, 2, 4, 5]) == pytest.approx([0.2, 0.6, 1.0, 0.0])


@pytest.mark.parametrize("power", [1.0, 0.5, 2.0])
def test_poly_decay_equals_tensorflow(power):
    text = (
        "poly_decay_learning_rate { learning_rate_base: 0.1 total_steps: 30 end_learning_rate: 0.01 "
        f"power: {power} }}"
    )
    steps = range(0, 45, 4)
    wanted = [
        float(tf.compat.v1.train.polynomial_decay(0.1, s, 30, end_learning_rate=0.01, power=power)())
        for s in steps
    ]
    np.testing.assert_allclose(rates(text, steps), wanted, rtol=1e-6)


def test_transformer():
    text = (
        "transformer_learning_rate { learning_rate_base: 2 hidden_size: 64 warmup_steps: 10 "
        "step_scaling_rate: 0.5 }"
    )
    steps = range(0, 60, 5)
    wanted = [2 * 64**-0.5 * min((0.5 * t + 1) * 5**-1.5, (0.5 * t + 1) ** -0.5) for t in steps]
    np.testing.assert_allclose(rates(text, steps), wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "learning_rate: no schedule is set"),
        ("exponential_decay_learning_rate { decay_steps: 0 }", "decay_steps: must be above 0"),
        ("exponential_decay_learning_rate { burnin_learning_rate: 0.1 }", "burnin_steps must be above 0"),
        ("manual_step_learning_rate {}", "schedule: is empty"),
        ("manual_step_learning_rate { schedule { step: 0 } }", "the first must be above 0"),
        (
            "manual_step_learning_rate { schedule { step: 5 } schedule { step: 5 } }",
            "steps must be increasing, but 5 follows 5",
        ),
        ("cosine_decay_learning_rate { warmup_learning_rate: 1 }", "above learning_rate_base"),
        ("cosine_decay_learning_rate { total_steps: 9 }", "more than total_steps 9"),
        (
            "poly_decay_learning_rate { learning_rate_base: 1 total_steps: 0 power: 1 }",
            "total_steps: must be above 0",
        ),
        (
            "transformer_learning_rate { learning_rate_base: 1 hidden_size: 0 warmup_steps: 1 }",
            "hidden_size: must be above 0",
        ),
    ],
)
def test_senseless_numbers_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        schedule(text)


positive = st.floats(2**-12, 1.0, width=32)
counts = st.integers(1, 50)


@settings(max_examples=50, deadline=None)
@given(base=positive, low=positive, steps=counts, burnin=counts, factor=positive, step=st.integers(0, 10**6))
def test_exponential_decay_is_finite_and_within_its_bounds(base, low, steps, burnin, factor, step):
    config = optimizer_pb2.LearningRate()
    config.exponential_decay_learning_rate.initial_learning_rate = base
    config.exponential_decay_learning_rate.decay_steps = steps
    config.exponential_decay_learning_rate.decay_factor = factor
    config.exponential_decay_learning_rate.burnin_learning_rate = low
    config.exponential_decay_learning_rate.burnin_steps = burnin
    config.exponential_decay_learning_rate.min_learning_rate = low
    rate = float(build_schedule(config)(tf.constant(step, tf.int64)))
    assert low * (1 - 1e-6) <= rate <= max(base, low) * (1 + 1e-6)
