"""The average number of times that items are candidates."""

from __future__ import annotations

import types

import numpy as np
import tensorflow as tf

from hvdrec.config.protos import loss_pb2
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import VariableStore
from hvdrec.models.candidate_frequency import CandidateFrequency

BUCKETS, ROWS, SAMPLED, STEPS = 16, 64, 32, 400


def inputs(own: np.ndarray, sampled: np.ndarray, run: ForwardContext) -> types.SimpleNamespace:
    others = types.SimpleNamespace(ids=lambda name: tf.constant(sampled, tf.int64))
    rows = tf.constant(len(own))
    return types.SimpleNamespace(
        ids=lambda name: tf.constant(own, tf.int64), sampled=others, run=run, rows=rows
    )


def test_estimates_are_the_expected_numbers() -> None:
    """Differences of logs are those of the true frequencies: the rows' and the sampler's together."""
    rng = np.random.default_rng(0)
    of_rows, of_sampler = rng.dirichlet(np.full(8, 3.0)), rng.dirichlet(np.full(8, 3.0))
    config = loss_pb2.SoftmaxCrossEntropyLoss(frequency_momentum=0.99, frequency_buckets=BUCKETS)
    found = CandidateFrequency(VariableStore(0, lambda name: False), config, "item", in_batch=True)
    for _ in range(STEPS):
        run = ForwardContext(training=True)
        logs = found(inputs(rng.choice(8, ROWS, p=of_rows), rng.choice(8, SAMPLED, p=of_sampler), run))
        assert logs is not None
        (update,) = run.updates
        found.average.assign(found.average * update.momentum + update.value * (1 - update.momentum))
    logs = found(inputs(np.arange(8), np.arange(8) + BUCKETS, ForwardContext(training=False)))
    expected = np.log(of_rows + of_sampler * SAMPLED / ROWS)
    np.testing.assert_allclose(logs.numpy()[:8], expected, rtol=0, atol=0.15)
    np.testing.assert_array_equal(logs.numpy()[8:], logs.numpy()[:8])


def test_without_steps_all_items_are_equally_frequent() -> None:
    found = CandidateFrequency(
        VariableStore(0, lambda name: False), loss_pb2.SoftmaxCrossEntropyLoss(), "item", in_batch=True
    )
    logs = found(inputs(np.arange(9), np.arange(5), ForwardContext(training=False)))
    np.testing.assert_allclose(logs.numpy(), np.full(14, -np.log(131072)), rtol=1e-6)
