"""Sums of a group's columns: with native operations, without writing the columns down."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from models.oracle import build

from hvdrec.layers.context import ForwardContext
from hvdrec.models.inputs import ModelInputs


def _config(wide: str) -> str:
    return f"""model_class: "WideAndDeep"
      feature_groups {{ group_name: "wide" wide_deep: WIDE feature_names: [{wide}] }}
      feature_groups {{ group_name: "deep" wide_deep: DEEP feature_names: ["a", "c"] }}
      wide_and_deep {{ dnn {{ hidden_units: [4] }} final_dnn {{ hidden_units: [4] }} wide_output_dim: 2 }}"""


def _computed(wide: str, impl: str, before: bool = False, after: bool = False) -> list[np.ndarray]:
    """The sums, the penalty and the gradients of both, with the columns requested before or after the sums."""
    model, batch = build(_config(wide)).recommender, build(_config(wide)).batch
    touched = model.touch(batch)
    with tf.GradientTape() as tape:
        tape.watch(touched)
        run = ForwardContext(True, tf.constant([1, 7]), impl=impl)
        inputs = ModelInputs(model.plan, batch, touched, model.group_layers, run)
        loss = tf.constant(0.0)
        if before:
            loss += tf.reduce_sum(tf.sin(inputs.concat("wide")))
        sums = inputs.row_sums("wide")
        if after:
            loss += tf.reduce_sum(tf.sin(inputs.concat("wide")))
        loss += tf.reduce_sum(tf.sin(sums)) + 0.3 * inputs.all_squared
    gradients = tape.gradient(loss, touched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [sums.numpy(), inputs.all_squared.numpy(), *(g.numpy() for g in gradients)]


@pytest.mark.parametrize(
    "wide", ['"a", "b", "c"', '"b", "a"', '"a", "b", "tags"', '"a", "x"', '"x"', '"tags"']
)
@pytest.mark.parametrize(("before", "after"), [(False, False), (True, False), (False, True)])
def test_both_implementations_agree(wide: str, before: bool, after: bool) -> None:
    native, standard = (_computed(wide, impl, before, after) for impl in ("native", "tensorflow"))
    assert np.abs(standard[0]).max() > 0.1
    for found, expected in zip(native, standard, strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_the_columns_are_not_looked_up() -> None:
    @tf.function
    def graph() -> tf.Tensor:
        model, batch = build(_config('"a", "b"')).recommender, build(_config('"a", "b"')).batch
        run = ForwardContext(True, tf.constant([1, 7]), impl="native")
        inputs = ModelInputs(model.plan, batch, model.touch(batch), model.group_layers, run)
        return inputs.row_sums("wide")

    ops = [op.type for op in graph.get_concrete_function().graph.get_operations()]
    assert ops.count("HvdrecLookupSums") == 1
    assert "HvdrecLookup" not in ops
