"""CIRCLE_LOSS and MULTI_SIMILARITY_LOSS as models use them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from losses import running
from losses.ranks import run_ranks

from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.errors import ConfigError
from hvdrec.losses.base import LossBatch, Replicas
from hvdrec.losses.combine import LossSet

CIRCLE = "loss_type: CIRCLE_LOSS metric_learning { circle_loss { %s } }"
MULTI = "loss_type: MULTI_SIMILARITY_LOSS metric_learning { multi_similarity_loss { %s } }"


def _losses(text: str) -> LossSet:
    config = easy_rec_model_pb2.EasyRecModel()
    text_format.Parse(text, config)
    return running.loss_set(config)


def _batch(e: Any, labels: np.ndarray, sessions: np.ndarray | None, **more: Any) -> LossBatch:
    return LossBatch(
        e, labels, None, lambda _: pytest.fail("no id is asked for"), row_sessions=sessions, **more
    )


def test_golden_values(shared: pathlib.Path) -> None:
    golden = json.loads((shared / "golden" / "losses.json").read_text())
    done = 0
    for case in golden["cases"]:
        if case["name"] not in ("CIRCLE_LOSS", "MULTI_SIMILARITY_LOSS"):
            continue
        p = case["params"]
        if case["name"] == "CIRCLE_LOSS":
            losses = _losses(CIRCLE % f"margin: {p['margin']} gamma: {p['gamma']}")
        else:
            mining = "" if p["mining_eps"] is None else f"mining: true eps: {p['mining_eps']}"
            losses = _losses(MULTI % f"alpha: {p['alpha']} beta: {p['beta']} lamb: {p['lamb']} {mining}")
        arrays = {name: np.array(golden["inputs"][name]) for name in case["inputs"]}
        sessions = None
        if "session" in arrays:
            sessions = np.unique(arrays["session"], return_inverse=True)[1]
        e = tf.Variable(arrays["embeddings"], dtype=tf.float32)
        with tf.GradientTape() as tape:
            found = losses([_batch(e, arrays["classes"].astype(np.int64), sessions)], True)
        assert list(found) == ["circle_loss" if case["name"] == "CIRCLE_LOSS" else "ms_loss"]
        (value,) = found.values()
        assert float(value) == pytest.approx(case["loss"], rel=1e-5)
        expected = np.array(case["grad"]["embeddings"])
        difference = np.abs(tape.gradient(value, e).numpy() - expected).max()
        assert difference < 1e-4 * np.abs(expected).max()
        done += 1
    assert done == 5


#: Of two ranks' products of two rows another last bit would count 2 gamma (or beta) times: see docs/losses.md.
@pytest.mark.parametrize(
    ("text", "dtype", "tolerance"),
    [
        (CIRCLE % "gamma: 8 cross_replica: true", np.float32, 1e-6),
        (CIRCLE % "gamma: 32 cross_replica: true", np.float32, 1e-6),
        (CIRCLE % "gamma: 32 cross_replica: true", np.float64, 1e-12),
        (MULTI % "alpha: 2 beta: 10 cross_replica: true", np.float32, 1e-6),
        (MULTI % "mining: true cross_replica: true", np.float32, 1e-6),
        (MULTI % "mining: true cross_replica: true", np.float64, 1e-12),
    ],
)
def test_ranks_together_are_one_batch(text: str, dtype: type, tolerance: float) -> None:
    """Three ranks, the second without rows."""
    generator = np.random.default_rng(0)
    e = generator.normal(size=(50, 6)).astype(dtype)
    labels, sessions = generator.integers(0, 5, 50), generator.integers(0, 2, 50)
    losses = _losses(text)
    whole, gradient = _value_and_gradient(losses, e, labels, sessions)
    parts = [slice(0, 20), slice(20, 20), slice(20, 50)]

    def body(rank: int, replicas: Replicas) -> tuple[float, np.ndarray]:
        part = parts[rank]
        return _value_and_gradient(losses, e[part], labels[part], sessions[part], replicas)

    found = run_ranks([20, 0, 30], body)
    assert sum(value for value, _ in found) == pytest.approx(whole, rel=tolerance)
    atol = tolerance * np.abs(gradient).max()
    np.testing.assert_allclose(np.concatenate([g for _, g in found]), gradient, rtol=0, atol=atol)


def _value_and_gradient(
    losses: LossSet, e: np.ndarray, labels: np.ndarray, sessions: np.ndarray, replicas: Replicas | None = None
) -> tuple[float, np.ndarray]:
    """The loss and its gradient, times the share of a rank where there are several."""
    own = tf.Variable(e)
    with tf.GradientTape() as tape:
        (value,) = losses(
            [_batch(own, tf.constant(labels), tf.constant(sessions), replicas=replicas)], True
        ).values()
        target = value if replicas is None else tf.cast(replicas.share, value.dtype) * value
    return float(target), tape.gradient(target, own).numpy()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CIRCLE % "gamma: 0", r"circle_loss\.gamma: must be .*, is 0"),
        (MULTI % "alpha: -1", r"multi_simi_loss\.alpha: must be .*, is -1"),
    ],
)
def test_parameters_are_checked(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _losses(text)
