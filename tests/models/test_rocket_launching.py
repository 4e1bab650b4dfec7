"""RocketLaunching: what the light net is trained towards, and EasyRec's run, in which that is reversed."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from golden.easyrec import assert_followed, golden_run

from hvdrec.models.rocket_launching import SIMILARITIES, cosine, nearness

LIGHT = tf.constant([[1.0, 2.0], [0.0, 0.0], [3.0, -4.0]])
BOOSTER = tf.constant([[2.0, 4.0], [1.0, 1.0], [3.0, -4.0]])


def test_similarities() -> None:
    np.testing.assert_allclose(cosine(LIGHT, BOOSTER), [1.0, 0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(nearness(LIGHT, BOOSTER), [-np.sqrt(5), -np.sqrt(2), 0.0], rtol=1e-6)
    for function in SIMILARITIES.values():
        with tf.GradientTape() as tape:
            tape.watch(LIGHT)
            loss = -tf.reduce_sum(function(LIGHT, BOOSTER))
        gradient = tape.gradient(loss, LIGHT)
        assert np.isfinite(gradient).all()
        # A step against the gradient brings them together.
        assert -tf.reduce_sum(function(LIGHT - 0.01 * gradient, BOOSTER)) < loss


def test_trace_of_easyrecs_similarity(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyRec pushes the layers apart, by the root of all rows' squares; with that, its losses in every step and its last weights."""

    def as_easyrec(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return tf.fill([tf.shape(first)[0]], tf.sqrt(tf.reduce_sum(tf.square(second - first))))

    run = golden_run("rocket_launching_feature_taobao")
    monkeypatch.setitem(SIMILARITIES, "COSINE", as_easyrec)
    assert_followed(run, tmp_path)
