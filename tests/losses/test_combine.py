"""Several losses as one, and what the model predicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from losses import running

from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses.base import LossBatch
from hvdrec.losses.combine import LossSet

LOGITS = [0.5, -1.0, 2.0, 0.0]
LABELS = [1.0, 0.0, 0.0, 1.0]


class Variables:
    """Makes variables and remembers them."""

    def __init__(self) -> None:
        self.made: dict[str, tf.Variable] = {}

    def __call__(self, name: str, shape: tuple[int, ...], value: float) -> tf.Variable:
        self.made[name] = tf.Variable(tf.fill(shape, value), name=name)
        return self.made[name]


def loss_set(text: str, variables: Any = None) -> LossSet:
    config = text_format.Parse('model_class: "X" ' + text, easy_rec_model_pb2.EasyRecModel())
    return running.loss_set(config, variables or Variables())


def losses(found: LossSet, training: bool = True, step: int | None = 0, **batch: Any) -> dict[str, float]:
    given = {"logits": tf.constant(LOGITS), "labels": tf.constant(LABELS), "weights": None} | batch
    batch = LossBatch(
        session=lambda name: tf.constant([1, 1, 2, 2], tf.int64),
        step=None if step is None else tf.constant(step, tf.int64),
        **given,
    )
    values = found([batch], training)
    assert all(v.dtype == tf.float32 and v.shape == () for v in values.values())
    return {name: float(v) for name, v in values.items()}


def plain(loss_type: str) -> float:
    return next(iter(losses(loss_set(f"loss_type: {loss_type}")).values()))


def test_one_loss() -> None:
    found = loss_set("loss_type: L2_LOSS")
    assert (found.names, found.session_names) == (("l2_loss",), ())
    assert losses(found)["l2_loss"] == pytest.approx(np.mean(np.square(np.subtract(LOGITS, LABELS))))


def test_the_default_is_classification() -> None:
    assert losses(loss_set("")) == {"cross_entropy_loss": pytest.approx(plain("CLASSIFICATION"))}


def test_fixed_weights_and_names() -> None:
    found = loss_set(
        "losses { loss_type: CLASSIFICATION } losses { loss_type: PAIR_WISE_LOSS weight: 0.5 }"
        'losses { loss_type: PAIR_WISE_LOSS weight: 2 loss_name: "by_user" pairwise_loss { session_name: "u" } }'
        'losses { loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { session_name: "u" } }'
        'losses { loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { session_name: "s" } }'
    )
    assert found.names == (
        "cross_entropy_loss",
        "pair_wise_loss",
        "by_user",
        "pairwise_hinge_loss",
        "pairwise_focal_loss",
    )
    assert found.session_names == ("u", "s")
    values = losses(found)
    assert values["cross_entropy_loss"] == pytest.approx(plain("CLASSIFICATION"))
    assert values["pair_wise_loss"] == pytest.approx(0.5 * plain("PAIR_WISE_LOSS"))
    by_user = np.mean([math.log1p(math.exp(-1.5)), math.log1p(math.exp(2.0))])
    assert values["by_user"] == pytest.approx(2 * by_user)


def test_sample_weights_reach_the_loss() -> None:
    found = losses(loss_set("loss_type: L2_LOSS"), weights=tf.constant([2.0, 0.0, 0.0, 0.0]))
    assert found["l2_loss"] == pytest.approx(2 * 0.25)


def test_uncertainty() -> None:
    variables = Variables()
    found = loss_set(
        "loss_weight_strategy: Uncertainty losses { loss_type: CLASSIFICATION learn_loss_weight: true weight: 9 }"
        'losses { loss_type: L2_LOSS learn_loss_weight: true loss_name: "error" }'
        "losses { loss_type: PAIR_WISE_LOSS weight: 0.25 }",
        variables,
    )
    assert list(variables.made) == ["loss/cross_entropy_loss_loss_weight", "loss/error_loss_weight"]
    assert {v.ref() for v in found.trainable_variables} <= {v.ref() for v in variables.made.values()}
    first = losses(found)
    assert first["cross_entropy_loss"] == pytest.approx(plain("CLASSIFICATION"))
    assert first["error"] == pytest.approx(0.5 * plain("L2_LOSS"))
    variables.made["loss/cross_entropy_loss_loss_weight"].assign(0.7)
    variables.made["loss/error_loss_weight"].assign(-0.3)
    second = losses(found)
    assert second["cross_entropy_loss"] == pytest.approx(math.exp(-0.7) * plain("CLASSIFICATION") + 0.35)
    assert second["error"] == pytest.approx(0.5 * math.exp(0.3) * plain("L2_LOSS") - 0.15)
    assert second["pair_wise_loss"] == pytest.approx(0.25 * plain("PAIR_WISE_LOSS"))


def test_what_has_no_effect_is_left_alone_as_in_easyrec() -> None:
    variables = Variables()
    found = loss_set(
        "losses { loss_type: CLASSIFICATION learn_loss_weight: true weight: 2 pairwise_loss { } }", variables
    )
    assert variables.made == {}
    assert losses(found)["cross_entropy_loss"] == pytest.approx(2 * plain("CLASSIFICATION"))


def test_random_weights() -> None:
    found = loss_set(
        "loss_weight_strategy: Random losses { loss_type: CLASSIFICATION weight: 9 } losses { loss_type: PAIR_WISE_LOSS }"
    )
    alone = np.array([plain("CLASSIFICATION"), plain("PAIR_WISE_LOSS")])
    drawn = [np.array(list(losses(found, step=s).values())) / alone for s in range(8)]
    for shares in drawn:
        assert shares.sum() == pytest.approx(1.0, rel=1e-5)
    assert len({round(float(s[0]), 6) for s in drawn}) == 8
    again = np.array(list(losses(found, step=3).values())) / alone
    np.testing.assert_array_equal(again, drawn[3])
    evaluated = np.array(list(losses(found, training=False, step=None).values()))
    np.testing.assert_allclose(evaluated, alone / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="step"):
        losses(found, step=None)


def test_random_weights_follow_the_step_inside_a_graph() -> None:
    found = loss_set(
        "loss_weight_strategy: Random losses { loss_type: CLASSIFICATION } losses { loss_type: PAIR_WISE_LOSS }"
    )

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
    def run(step: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = LossBatch(
            tf.constant(LOGITS), tf.constant(LABELS), None, lambda n: tf.zeros([4], tf.int64), 1, step
        )
        return found([batch], True)

    for step in (0, 5):
        expected = losses(found, step=step)
        assert {n: float(v) for n, v in run(step).items()} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "losses { loss_type: PAIR_WISE_LOSS } losses { loss_type: PAIR_WISE_LOSS }",
            r"model_config\.losses\[1\]\.loss_name: two losses are named pair_wise_loss; give one of them another",
        ),
        (
            'losses { loss_type: CLASSIFICATION } losses { loss_type: L2_LOSS loss_name: "cross_entropy_loss" }',
            "two losses are named cross_entropy_loss",
        ),
        (
            "losses { loss_type: CLASSIFICATION } losses { loss_type: PAIR_WISE_LOSS pairwise_loss { temperature: -1 } }",
            r"model_config\.losses\[1\]\.pairwise_loss\.temperature: must be at least 1e-06",
        ),
        ("loss_type: ZILN_LOSS", r"model_config\.loss_type: ZILN_LOSS needs num_class: 3"),
        (
            'losses { loss_type: L2_LOSS } losses { loss_type: SIGMOID_L2_LOSS loss_name: "s" }',
            "L2_LOSS and SIGMOID_L2_LOSS",
        ),
        ("num_class: 0", r"model_config\.num_class"),
        ("num_class: 3 loss_type: L2_LOSS", r"model_config\.loss_type: L2_LOSS needs num_class: 1"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loss_set(text)
