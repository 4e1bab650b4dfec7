"""Two optimizers against two of TensorFlow 1 in one graph: values, slots, and the names of scalars."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from optim.conftest import assert_same, run_ours, run_tf1

from hvdrec.config.protos import optimizer_pb2, pipeline_pb2
from hvdrec.config.variables import is_frozen, optimizer_index
from hvdrec.layers.variables import variable_key
from hvdrec.optim.registry import build_optimizers

tf1 = tf.compat.v1.train
RATE = "learning_rate {{ constant_learning_rate {{ learning_rate: {} }} }}"
FAST, SLOW = RATE.format(0.05), RATE.format(0.01)

PAIRS = [
    (
        f"adam_optimizer {{ {FAST} }}",
        f"adam_optimizer {{ {SLOW} beta1: 0.8 }}",
        lambda: tf1.AdamOptimizer(0.05),
        lambda: tf1.AdamOptimizer(0.01, beta1=0.8),
    ),
    (
        f"ftrl_optimizer {{ {FAST} l1_reg: 0.01 }}",
        f"adam_optimizer {{ {SLOW} }}",
        lambda: tf1.FtrlOptimizer(0.05, l1_regularization_strength=0.01),
        lambda: tf1.AdamOptimizer(0.01),
    ),
    (
        f"adagrad_optimizer {{ {FAST} }}",
        f"momentum_optimizer {{ {SLOW} }}",
        lambda: tf1.AdagradOptimizer(0.05, initial_accumulator_value=0.1),
        lambda: tf1.MomentumOptimizer(0.01, momentum=0.9),
    ),
]


class Both:
    """The first takes the table, the second the kernel."""

    def __init__(self, make_first, make_second) -> None:
        self.first, self.second = make_first(), make_second()

    def apply_gradients(self, gradients):
        dense, rows = gradients
        return tf.group(self.first.apply_gradients([rows]), self.second.apply_gradients([dense]))


def build(*texts: str):
    configs = [text_format.Parse(text, optimizer_pb2.Optimizer()) for text in texts]
    return build_optimizers(configs, lambda v: 0 if variable_key(v) == "table" else 1)


@pytest.mark.parametrize(("first", "second", "make_first", "make_second"), PAIRS)
def test_steps_equal_tf1(problem, first, second, make_first, make_second):
    theirs = run_tf1(lambda: Both(make_first, make_second), problem)
    assert_same(run_ours(build(first, second), problem), theirs)


def test_rates_and_rows(problem):
    optimizer = build(f"lazy_adam_optimizer {{ {FAST} }}", f"sgd_optimizer {{ {SLOW} }}")
    np.testing.assert_allclose(optimizer.learning_rates(3), [0.05, 0.01])
    np.testing.assert_allclose(optimizer.learning_rate(3), 0.01)
    assert optimizer.tells_apart(tf.Variable(tf.zeros([2, 2]), name="table"))
    assert not optimizer.tells_apart(tf.Variable(tf.zeros([2, 2]), name="kernel"))


TABLE = "input_layer/a_embedding/embedding_weights"
DEEP = "input_layer_1/a_embedding/embedding_weights"
KERNEL = "deep_feature/dnn_0/kernel"


@pytest.mark.parametrize(
    ("model", "count", "wanted"),
    [
        ("DeepFM", 1, [0, 0, 0]),
        ("DeepFM", 2, [0, 0, 1]),
        ("WideAndDeep", 2, [0, 1, 1]),
        ("WideAndDeep", 3, [0, 1, 2]),
    ],
)
def test_which_optimizer_has_which_variable(model, count, wanted):
    proto = pipeline_pb2.EasyRecConfig()
    proto.model_config.model_class = model
    for _ in range(count):
        proto.train_config.optimizer_config.add()
    assert [optimizer_index(proto, name) for name in (TABLE, DEEP, KERNEL)] == wanted


def test_what_is_frozen_is_found_as_python_finds_patterns():
    proto = pipeline_pb2.EasyRecConfig()
    proto.train_config.freeze_gradient.extend(["^input_layer/", "dnn_0/bias:0$"])
    names = [TABLE, DEEP, KERNEL, "deep_feature/dnn_0/bias", "old/input_layer/x"]
    assert [is_frozen(proto, name) for name in names] == [True, False, False, True, False]
