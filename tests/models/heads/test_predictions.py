"""What heads predict, under EasyRec's names."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.config.models.heads import KINDS, HeadConfig, LossConfig
from hvdrec.config.protos import loss_pb2
from hvdrec.models.heads.registry import HEADS, build_head


def predicted(logits: tf.Tensor, num_class: int, *losses: str, name: str = "") -> dict[str, np.ndarray]:
    configs = tuple(
        LossConfig(each, loss_pb2.Loss(loss_type=loss_pb2.LossType.Value(each)), "", True) for each in losses
    )
    kind = "softmax" if num_class > 1 else "logit"
    head = build_head(HeadConfig(kind, "label", configs, num_class, name))
    found = head.predictions({f"logits{head.config.suffix}": logits})
    assert set(found) <= set(head.names)
    return {head.named(n): t.numpy() for n, t in found.items()}


def test_configs_know_the_same_kinds() -> None:
    assert set(HEADS) == set(KINDS)


def test_one_class() -> None:
    logits = tf.constant([[0.0], [2.0]])
    found = predicted(logits, 1, "CLASSIFICATION", "PAIR_WISE_LOSS")
    assert set(found) == {"probs", "logits"}
    np.testing.assert_allclose(found["probs"], [0.5, 1 / (1 + math.exp(-2))], rtol=1e-6)
    found = predicted(logits, 1, "L2_LOSS")
    assert set(found) == {"y"}
    np.testing.assert_array_equal(found["y"], logits[:, 0])
    np.testing.assert_allclose(
        predicted(logits, 1, "SIGMOID_L2_LOSS")["y"], tf.sigmoid(logits)[:, 0], rtol=1e-6
    )
    assert set(predicted(logits, 1, "L2_LOSS", "BINARY_CROSS_ENTROPY_LOSS")) == {"probs", "logits", "y"}


@pytest.mark.parametrize("rows", [0, 2])
def test_many_classes(rows: int) -> None:
    logits = tf.constant([[0.0, 1.0, 3.0], [2.0, 1.0, 0.0]])[:rows]
    found = predicted(logits, 3, "CLASSIFICATION")
    assert set(found) == {"y", "probs", "logits", "probs_y", "logits_y", "probs_1", "logits_1"}
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["probs"], probabilities, rtol=1e-6)
    np.testing.assert_array_equal(found["y"], [2, 0][:rows])
    np.testing.assert_array_equal(found["logits_y"], [3.0, 2.0][:rows])
    np.testing.assert_array_equal(found["logits_1"], [1.0, 1.0][:rows])
    np.testing.assert_allclose(found["probs_1"], probabilities[:, 1], rtol=1e-6)


def test_the_suffix_stands_where_easyrec_has_it() -> None:
    assert set(predicted(tf.zeros([2, 1]), 1, "CLASSIFICATION", name="ctr")) == {"probs_ctr", "logits_ctr"}
    assert set(predicted(tf.zeros([2, 2]), 2, "CLASSIFICATION", name="light")) == {
        *("y_light", "probs_light", "logits_light", "probs_light_y", "logits_light_y"),
        *("probs_light_1", "logits_light_1"),
    }
