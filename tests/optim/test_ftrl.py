from __future__ import annotations

import pytest
import tensorflow as tf

from hvdrec.errors import ConfigError

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ("", {"initial_accumulator_value": 0.1}),
        (
            "l1_reg: 0.01 l2_reg: 0.1",
            {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.1},
        ),
        (
            "l1_reg: 0.01 l2_shrinkage_reg: 0.2 learning_rate_power: -0.7",
            {
                "l1_regularization_strength": 0.01,
                "l2_shrinkage_regularization_strength": 0.2,
                "learning_rate_power": -0.7,
            },
        ),
    ],
)
def test_steps_equal_tf1(check_against_tf1, fields, arguments):
    check_against_tf1(
        f"ftrl_optimizer {{ {RATE} {fields} }}",
        lambda: tf.compat.v1.train.FtrlOptimizer(0.05, **arguments),
    )


@pytest.mark.parametrize(
    "field",
    ["l1_reg: -1", "l2_reg: -1", "l2_shrinkage_reg: -1", "learning_rate_power: 0.5"],
)
def test_numbers_out_of_range_are_refused(build, field):
    with pytest.raises(ConfigError, match=rf"ftrl_optimizer\.{field.split(':')[0]}: must be at"):
        build(f"ftrl_optimizer {{ {RATE} {field} }}")
