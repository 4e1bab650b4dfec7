"""SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING against float64, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from losses import running

from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses.base import LossBatch
from hvdrec.losses.combine import LossSet
from hvdrec.losses.softmax_negative_mining import drawn_shifts, softmax_negative_mining


def _unit(rows: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(rows, 5))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _oracle(users, items, labels, shifts, weights, margin, gamma, support) -> float:
    total, counted = 0.0, 0
    for i in range(len(users)):
        if labels[i] <= 0:
            continue
        positive = users[i] @ items[i] - margin
        scores = [positive]
        for shift in shifts:
            negative = users[i] @ items[(i - shift) % len(users)]
            scores.append(support * negative + support - 1 if positive < negative else negative)
        z = gamma * np.array(scores)
        total += weights[i] * (np.log(np.exp(z).sum()) - z[0])
        counted += weights[i] != 0
    return total / counted if counted else 0.0


@pytest.mark.parametrize(("margin", "gamma", "support"), [(0.0, 1.0, 1.0), (0.2, 8.0, 1.3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient(margin: float, gamma: float, support: float, weighted: bool) -> None:
    rows = 9
    users, items = _unit(rows, 0), _unit(rows, 1)
    labels = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1.0])
    weights = np.array([0.5, 1, 0, 2, 1, 1, 1.5, 1, 1]) if weighted else np.ones(rows)
    shifts = np.array([1, 4, 8, 4])

    def oracle(u: np.ndarray, v: np.ndarray) -> float:
        return _oracle(u, v, labels, shifts, weights, margin, gamma, support)

    u, v = tf.Variable(users, dtype=tf.float32), tf.Variable(items, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = softmax_negative_mining(
            u,
            v,
            tf.constant(labels, tf.float32),
            tf.constant(shifts, tf.int32),
            weights=tf.constant(weights, tf.float32) if weighted else None,
            margin=margin,
            gamma=gamma,
            support=support,
        )
    assert float(value) == pytest.approx(oracle(users, items), rel=1e-5)
    step = 1e-6
    for side, found in enumerate(tape.gradient(value, [u, v])):
        found = tf.convert_to_tensor(found).numpy()
        for place in [(0, 0), (3, 2), (8, 4), (1, 1)]:
            ends = []
            for sign in (1, -1):
                moved = [users.copy(), items.copy()]
                moved[side][place] += sign * step
                ends.append(oracle(*moved))
            assert found[place] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=2e-5)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(rows: int) -> None:
    """Without another row there is no negative: the loss is 0 and so are finite gradients."""
    losses = _losses("losses { loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING }")
    u = tf.Variable(_unit(rows, 0), dtype=tf.float32)
    with tf.GradientTape() as tape:
        (value,) = losses([_batch(u, np.ones(rows))], True).values()
    gradient = tf.convert_to_tensor(tape.gradient(value, u)).numpy()
    assert np.isfinite(gradient).all()
    assert (float(value) == 0 and not gradient.any()) == (rows < 2)


def test_no_positive_row_is_zero() -> None:
    losses = _losses("losses { loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING }")
    (value,) = losses([_batch(tf.constant(_unit(6, 0), tf.float32), np.zeros(6))], True).values()
    assert float(value) == 0


def test_shifts_follow_the_step() -> None:
    rows = tf.constant(7)
    first, again, later = (drawn_shifts(500, rows, tf.constant(s, tf.int64)).numpy() for s in (3, 3, 4))
    assert (first == again).all()
    assert (first != later).any()
    assert set(first) == set(range(1, 7))


def test_names_weights_and_parameters_of_dropoutnet() -> None:
    """EasyRec's names in the loss dict; the block's parameters are the loss's."""
    losses = _losses(
        "losses { loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING weight: 2 }"
        "losses { loss_type: CLASSIFICATION } losses { loss_type: PAIR_WISE_LOSS }"
    )
    e = tf.constant(_unit(8, 0), tf.float32)
    found = losses([_batch(e, np.ones(8))], True)
    assert list(found) == ["softmax_loss", "sigmoid_loss", "pairwise_loss"]
    shifts = drawn_shifts(4, tf.constant(8), tf.constant(5, tf.int64))
    expected = softmax_negative_mining(e, e, tf.ones([8]), shifts, gamma=3.0)
    assert float(found["softmax_loss"]) == pytest.approx(2 * float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("num_negative_samples: 0", "num_negative_samples: must be at least 1"),
        ("num_negative_samples: 2 gamma: 0", "gamma: must be .*, is 0"),
    ],
)
def test_parameters_are_checked(block: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _losses("loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING", block)


def _losses(text: str, block: str = "num_negative_samples: 4 gamma: 3") -> LossSet:
    config = easy_rec_model_pb2.EasyRecModel()
    text_format.Parse(f"{text} dropoutnet {{ softmax_loss {{ {block} }} }}", config, allow_unknown_field=True)
    return running.loss_set(config)


def _batch(e: tf.Tensor, labels: np.ndarray) -> LossBatch:
    return LossBatch(
        tf.zeros(tf.shape(e)[:1]),
        tf.constant(labels, tf.float32),
        None,
        lambda _: pytest.fail("no id is asked for"),
        step=tf.constant(5, tf.int64),
        towers=(e, e),
    )
