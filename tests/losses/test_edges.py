"""What no loss may do: return a value other than 0 for no rows, or a number that isn't finite."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from losses import running

from hvdrec.losses.base import Loss, LossBatch

#: Losses that take sample weights.
WEIGHED = [text for text in running.CONFIGS if "BINARY_CROSS" not in text and "LISTWISE" not in text]
PAIRWISE = [text for text in running.CONFIGS if "PAIR" in text]


def _traced(loss: Loss, num_class: int = 1) -> tf.types.experimental.GenericFunction:
    """The loss of logits w * x in a graph with any number of rows, and its gradient by w."""
    floats = tf.TensorSpec([None], tf.float32)
    labels = floats if num_class == 1 else tf.TensorSpec([None], tf.int32)
    w = tf.Variable(1.0 if num_class == 1 else [1.0] * num_class)

    @tf.function(input_signature=[floats, labels, floats, tf.TensorSpec([None], tf.int64)], autograph=False)
    def run(x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            logits = w * x if num_class == 1 else w * x[:, tf.newaxis]
            value = loss.compute(LossBatch(logits, y, weights, lambda name: ids, num_class))
        return value, tape.gradient(value, w)

    return run


@pytest.mark.parametrize("text", running.CONFIGS)
def test_no_rows(text: str) -> None:
    run = _traced(running.build(text))
    value, gradient = run([], [], [], np.zeros(0, np.int64))
    assert (float(value), float(gradient)) == (0.0, 0.0)
    value, _ = run([-0.5, 1.0], [1.0, 0.0], [1.0, 1.0], [3, 3])
    # A share of one pair may be no pair.
    assert float(value) > 0.0 or "ohem_ratio" in text


def test_no_rows_of_many_classes() -> None:
    run = _traced(running.build("loss_type: CLASSIFICATION", 3), 3)
    value, gradient = run([], np.zeros(0, np.int32), [], np.zeros(0, np.int64))
    assert float(value) == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("text", WEIGHED)
def test_weights_of_zero(text: str) -> None:
    value, gradient = running.value_and_gradient(
        running.build(text), [3.0, -2.0, 1e4], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1, 1, 1]
    )
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("text", PAIRWISE)
@pytest.mark.parametrize(("labels", "sessions"), [([2.0, 2.0, 2.0], [1, 1, 1]), ([0.0, 1.0, 2.0], [1, 2, 3])])
def test_no_pairs(text: str, labels: list[float], sessions: list[int]) -> None:
    if "session_name" not in text and len(set(labels)) > 1:
        pytest.skip("all rows are one session")
    value, gradient = running.value_and_gradient(
        running.build(text), [1e4, -1e4, 0.0], labels, None, sessions
    )
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { ohem_ratio: 0.5 }",
        "loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { ohem_ratio: 0.5 hinge_margin: 1 }",
        "loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { ohem_ratio: 0.001 }",
        "loss_type: BINARY_FOCAL_LOSS binary_focal_loss { ohem_ratio: 0.001 }",
    ],
)
def test_nothing_hard_enough(text: str) -> None:
    value, gradient = running.value_and_gradient(running.build(text), [50.0, 0.0], [1.0, 0.0])
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize("text", running.CONFIGS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_logits(text: str, sign: float) -> None:
    logits = sign * np.array([1e4, -1e4, 1e4, -1e4, 0.0], np.float32)
    value, gradient = running.value_and_gradient(
        running.build(text), logits, [1.0, 0.0, 0.0, 1.0, 1.0], None, [1, 1, 1, 1, 1]
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("text", running.CONFIGS)
def test_the_order_of_rows_does_not_matter(text: str) -> None:
    generator = np.random.default_rng(0)
    columns = (
        generator.normal(size=20),
        generator.integers(0, 2, 20),
        generator.uniform(0.1, 2.0, 20),
        generator.integers(0, 3, 20),
    )
    order = generator.permutation(20)
    loss = running.build(text)
    value, gradient = running.value_and_gradient(loss, *columns)
    again, permuted = running.value_and_gradient(loss, *(c[order] for c in columns))
    assert again == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(permuted, gradient[order], rtol=1e-5, atol=1e-7)


def test_a_label_outside_the_classes_is_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        running.value_and_gradient(
            running.build("loss_type: CLASSIFICATION", 3), np.zeros((1, 3)), [3], None, None, 3
        )
