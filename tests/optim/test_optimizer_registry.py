from __future__ import annotations

import pytest
import tensorflow as tf

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.optim.registry import BUILDERS

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.05 } }"


def test_every_optimizer_of_the_proto_is_built():
    fields = optimizer_pb2.Optimizer.DESCRIPTOR.oneofs_by_name["optimizer"].fields
    assert {f.name for f in fields} == set(BUILDERS)


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_slots_carry_the_variable_s_name_and_shape(build, name):
    optimizer = build(f"{name} {{ {RATE} }}")
    variable = tf.Variable(tf.ones([3, 2]), name="deep/dnn_0/kernel")
    optimizer.create_slots([variable])
    for slot, by_variable in optimizer.slots.items():
        assert set(by_variable) == {"deep/dnn_0/kernel"}
        made = by_variable["deep/dnn_0/kernel"]
        assert made.shape == variable.shape
        assert made.name == f"deep/dnn_0/kernel/{slot}:0"
        assert not made.trainable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no optimizer is set"),
        ("adam_optimizer {}", r"adam_optimizer\.learning_rate: no schedule is set"),
        (
            f"adagrad_optimizer {{ {RATE} initial_accumulator_value: 0 }}",
            r"adagrad_optimizer\.initial_accumulator_value: must be above 0",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(build, text, message):
    with pytest.raises(ConfigError, match=message):
        build(text)
