"""JRC_LOSS: joint optimization of ranking and calibration (Sheng et al., KDD 2023)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from hvdrec.config.losses import JRC_STRATEGIES
from hvdrec.errors import ConfigError
from hvdrec.losses.base import Loss, LossBatch, LossVariable
from hvdrec.losses.classification import softmax_cross_entropy
from hvdrec.losses.lists import generative_loss

#: Distinguishes the random weights from other random numbers drawn by step.
_SEED = 0x6A7263
#: The factors of the two parts, float32 scalars.
_Shares = tuple[tf.Tensor, tf.Tensor]

#: log sigma^2 of the two parts; EasyRec's names, which are swapped.
_OF_CALIBRATION = LossVariable("{scope}{loss}_ranking_loss_weight", (), 0.0)
_OF_RANKING = LossVariable("{scope}{loss}_calibration_loss_weight", (), 0.0)


def build(config: Any, num_class: int) -> Loss:
    """Builds it from a `JRCLoss` message.

    Raises:
        ConfigError: The session is missing, or the strategy is unknown.
    """
    if not config.session_name:
        raise ConfigError(
            "session_name: is missing; set it to the feature or field that groups rows into sessions"
        )
    alpha = config.alpha
    strategy = config.loss_weight_strategy
    if strategy not in JRC_STRATEGIES:
        raise ConfigError(f"loss_weight_strategy: {strategy!r} is not one of {', '.join(JRC_STRATEGIES)}")
    same_label, cross_replica = bool(config.same_label_loss), bool(config.cross_replica)
    session_name = config.session_name

    def compute(batch: LossBatch) -> tf.Tensor:
        calibration = softmax_cross_entropy(batch.logits, batch.labels, weights=batch.weights)
        ranking = generative_loss(
            batch.logits,
            batch.labels,
            sessions=batch.sessions(session_name),
            weights=batch.weights,
            same_label=same_label,
            impl=batch.policy.lists,
            replicas=batch.replicas if cross_replica else None,
        )
        if strategy == "uncertainty":
            parts = ((calibration, _OF_CALIBRATION), (ranking, _OF_RANKING))
            logs = [(part, tf.convert_to_tensor(batch.variables[u.name])) for part, u in parts]
            return tf.add_n([tf.exp(-u) * part + 0.5 * u for part, u in logs])
        first, second = _shares(strategy, alpha, batch)
        return first * calibration + second * ranking

    variables = (_OF_CALIBRATION, _OF_RANKING) if strategy == "uncertainty" else ()
    return Loss(compute, session_name, variables)


def _shares(strategy: str, alpha: float, batch: LossBatch) -> _Shares:
    """The factors of calibration and ranking; random ones are drawn in training, else their means."""
    if strategy == "fixed":
        return tf.constant(alpha), tf.constant(1.0 - alpha)
    if not batch.with_gradient:
        return tf.constant(0.5), tf.constant(0.5)
    if batch.step is None:
        raise ValueError(f"loss_weight_strategy {strategy} needs the step")
    # By name, so that the losses of several towers draw different weights.
    own = _SEED ^ zlib.crc32(batch.name.encode())
    seed = tf.stack([tf.constant(own, tf.int64), tf.cast(batch.step, tf.int64)])
    return _DRAWN[strategy](seed)


def _uniform(seed: tf.Tensor) -> _Shares:
    share = tf.random.stateless_uniform([], seed)
    return share, 1.0 - share


def _normal(seed: tf.Tensor) -> _Shares:
    first, second = tf.unstack(tf.nn.softmax(tf.random.stateless_normal([2], seed)))
    return first, second


def _bernoulli(seed: tf.Tensor) -> _Shares:
    first, second = tf.unstack(tf.cast(tf.random.stateless_uniform([2], seed) < 0.5, tf.float32))
    one = tf.equal(first + second, 1.0)
    return tf.where(one, first, 0.5), tf.where(one, second, 0.5)


_DRAWN: dict[str, Callable[[tf.Tensor], _Shares]] = {
    "random_uniform": _uniform,
    "random_normal": _normal,
    "random_bernoulli": _bernoulli,
}
