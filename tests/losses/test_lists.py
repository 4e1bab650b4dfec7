"""The list-wise losses against loops over sessions in float64, and on several ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import running
from losses.list_oracles import hybrid_by_loops, listwise_by_loops, slope
from losses.ranks import run_ranks

from hvdrec.config.protos import loss_pb2
from hvdrec.losses.base import Loss, LossBatch, Replicas
from hvdrec.losses.jrc_loss import build as build_jrc
from hvdrec.losses.lists import generative_loss
from hvdrec.ops.listwise import hybrid, listwise

Array = np.ndarray
IMPLEMENTATIONS = ("native", "tensorflow")


def value_and_gradient(compute: Callable[[tf.Tensor], tf.Tensor], at: Array) -> tuple[float, Array]:
    tensor = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = compute(tensor)
    assert value.dtype == tensor.dtype
    return float(value), tape.gradient(value, tensor).numpy()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@given(
    size=st.integers(1, 12),
    count=st.integers(1, 4),
    form=st.sampled_from(["shares", "logits", "masses"]),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_listwise(impl: str, size: int, count: int, form: str, scale: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    s, sessions = scale * generator.normal(size=size), generator.integers(0, count, size)
    y = generator.uniform(0.1, 3.0, size) if form == "masses" else generator.normal(size=size)
    value, gradient = value_and_gradient(
        lambda x: listwise(x, tf.constant(y), sessions=tf.constant(sessions), form=form, impl=impl), s
    )
    assert value == pytest.approx(listwise_by_loops(s, y, sessions, form), rel=1e-9)
    expected = slope(lambda x: listwise_by_loops(x, y, sessions, form), s)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@given(
    size=st.integers(1, 10),
    count=st.integers(1, 4),
    same_label=st.booleans(),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_hybrid(impl: str, size: int, count: int, same_label: bool, scale: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, sessions = scale * generator.normal(size=(size, 2)), generator.integers(0, count, size)
    y, w = generator.integers(0, 2, size), generator.choice([0.0, 0.5, 2.0], size)
    value, gradient = value_and_gradient(
        lambda x: hybrid(
            x,
            tf.constant(y, tf.int32),
            sessions=tf.constant(sessions),
            weights=tf.constant(w),
            same_label=same_label,
            impl=impl,
        ),
        logits,
    )
    assert value == pytest.approx(hybrid_by_loops(logits, y, sessions, w, same_label), rel=1e-9, abs=1e-12)
    expected = slope(lambda x: hybrid_by_loops(x, y, sessions, w, same_label), logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_no_rows_and_far_logits(impl: str) -> None:
    none = tf.zeros([0, 2])
    assert float(hybrid(none, tf.zeros([0], tf.int32), impl=impl)) == 0.0
    assert float(listwise(tf.zeros([0]), tf.zeros([0]), impl=impl)) == 0.0
    far = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [0.0, 0.0]], np.float32)
    for same_label in (True, False):
        value, gradient = value_and_gradient(
            lambda x, same=same_label: hybrid(x, tf.constant([0, 1, 0, 1]), same_label=same, impl=impl), far
        )
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("same_label", [True, False])
def test_ranks_together_are_one_batch(same_label: bool) -> None:
    generator = np.random.default_rng(3)
    sizes, rows = [5, 0, 7], 12
    logits = generator.normal(size=(rows, 2)).astype(np.float32)
    y, sessions = generator.integers(0, 2, rows).astype(np.int32), generator.integers(0, 3, rows)
    w = generator.uniform(0.5, 2.0, rows).astype(np.float32)
    ends = np.cumsum([0, *sizes])

    def compute(part: slice, replicas: Replicas | None) -> tuple[float, Array]:
        return value_and_gradient(
            lambda x: generative_loss(
                x,
                tf.constant(y[part]),
                sessions=tf.constant(sessions[part]),
                weights=tf.constant(w[part]),
                same_label=same_label,
                impl="tensorflow",
                replicas=replicas,
            ),
            logits[part],
        )

    value, gradient = compute(slice(None), None)
    found = run_ranks(sizes, lambda rank, ranks: compute(slice(ends[rank], ends[rank + 1]), ranks))
    for rank, (one, own) in enumerate(found):
        assert one == pytest.approx(value, rel=1e-6)
        share = sizes[rank] / rows
        np.testing.assert_allclose(share * own, gradient[ends[rank] : ends[rank + 1]], atol=1e-7)


def jrc(text: str) -> Loss:
    return running.build(f"loss_type: JRC_LOSS jrc_loss {{ session_name: 'user' {text} }}", 2)


def batch(**more: object) -> LossBatch:
    return LossBatch(
        tf.constant([[0.5, -1.0], [2.0, 0.3], [-0.2, 0.9]]),
        tf.constant([0, 1, 1]),
        None,
        lambda name: tf.constant([1, 1, 2], tf.int64),
        2,
        **more,
    )


def test_strategies_of_jrc() -> None:
    calibration, ranking = (float(jrc(f"alpha: {a}").compute(batch())) for a in (1, 0))
    assert calibration != pytest.approx(ranking)
    drawn = {"random_uniform": set(), "random_normal": set(), "random_bernoulli": set()}
    for strategy, shares in drawn.items():
        loss = jrc(f"loss_weight_strategy: '{strategy}'")
        for step in range(24):
            value = float(loss.compute(batch(step=tf.constant(step, tf.int64))))
            shares.add(round((value - ranking) / (calibration - ranking), 4))
        assert all(-1e-4 <= share <= 1 + 1e-4 for share in shares)
        # An evaluation draws nothing.
        evaluated = float(loss.compute(batch(step=tf.constant(0, tf.int64), with_gradient=False)))
        assert evaluated == pytest.approx((calibration + ranking) / 2)
    assert drawn["random_bernoulli"] == {0.0, 0.5, 1.0}
    assert len(drawn["random_uniform"]) == len(drawn["random_normal"]) == 24


def test_jrc_of_each_tower_draws_its_own_weights() -> None:
    loss, step = jrc("loss_weight_strategy: 'random_uniform'"), tf.constant(7, tf.int64)
    values = [float(loss.compute(batch(step=step).named(name))) for name in ("one", "other", "one")]
    assert values[0] == values[2]
    assert abs(values[0] - values[1]) > 1e-4


def test_jrc_learns_how_its_parts_weigh() -> None:
    made: dict[str, tf.Variable] = {}

    def create(name: str, shape: tuple[int, ...], value: float) -> tf.Variable:
        made[name] = tf.Variable(tf.fill(shape, value))
        return made[name]

    from google.protobuf import text_format

    from hvdrec.config.protos import easy_rec_model_pb2

    config = text_format.Parse(
        "model_class: 'DeepFM' num_class: 2 losses { loss_type: JRC_LOSS loss_name: 'both' "
        "jrc_loss { session_name: 'user' loss_weight_strategy: 'uncertainty' } }",
        easy_rec_model_pb2.EasyRecModel(),
        allow_unknown_field=False,
    )
    found = running.loss_set(config, create)
    assert set(made) == {"loss/both_ranking_loss_weight", "loss/both_calibration_loss_weight"}
    made["loss/both_ranking_loss_weight"].assign(0.5)
    made["loss/both_calibration_loss_weight"].assign(-0.2)
    calibration, ranking = (float(jrc(f"alpha: {a}").compute(batch())) for a in (1, 0))
    value = float(found([batch()], True)["both"])
    expected = np.exp(-0.5) * calibration + 0.25 + np.exp(0.2) * ranking - 0.1
    assert value == pytest.approx(expected, rel=1e-6)


def test_jrc_needs_a_session() -> None:
    with pytest.raises(Exception, match="session_name: is missing"):
        build_jrc(loss_pb2.JRCLoss(), 2)
