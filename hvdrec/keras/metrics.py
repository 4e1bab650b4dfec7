"""Exact AUC, of all rows and of groups, as metrics of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.keras.installed import KERAS, loaded, registered, saved
from hvdrec.keras.ordered_pairs import OrderedPairs
from hvdrec.keras.targets import Sessions, split
from hvdrec.losses.functional.compiled import in_xla
from hvdrec.losses.functional.inputs import column, floats, identity

#: The weight of a group in the mean.
REDUCTIONS = ("mean", "mean_by_sample_num", "mean_by_positive_num")


class _PairMetric(KERAS.metrics.Metric):
    """A metric of correctly ordered pairs, counted in Python outside the graph."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._pairs = OrderedPairs()

    def _add(self, groups: Any, labels: Any, scores: Any) -> None:
        if in_xla():
            raise ValueError(f"metric {self.name} can't be compiled by XLA; use compile(jit_compile=False)")
        values = tf.cast(floats("y_pred", column("y_pred", scores)), tf.float32)
        positive = column("y_true", labels, tf.float32) > 0.0
        if groups is None:
            groups = tf.zeros_like(positive, tf.int64)
        # Return a number to the graph, so that no optimisation removes the call.
        done = tf.numpy_function(self._add_rows, [identity("sessions", groups), values, positive], tf.int64)
        done.set_shape([])

    def _add_rows(self, groups: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> np.int64:
        self._pairs.add(groups, scores, positive)
        return np.int64(0)

    def result(self) -> tf.Tensor:
        """The metric of all rows since `reset_state`; 0 if no group has both labels."""
        value = tf.numpy_function(self._value, [], tf.float64)
        value.set_shape([])
        return tf.cast(value, tf.float32)

    def _value(self) -> np.float64:
        raise NotImplementedError

    def reset_state(self) -> None:
        """Removes all rows."""
        self._pairs = OrderedPairs()

    reset_states = reset_state


@registered
class ExactAUC(_PairMetric):
    """Exact area under the ROC curve: the fraction of correctly ordered pairs, where a tie counts as a half.

    `keras.metrics.AUC` approximates it at thresholds and needs probabilities; this accepts scores of any
    scale and keeps 8 bytes per row. Labels above 0 are positive; row weights are refused. It works in one
    process, without XLA.

    Examples:
        >>> import hvdrec
        >>> auc = hvdrec.keras.ExactAUC()
        >>> auc.update_state([1, 0, 1, 0], [2.0, 1.0, 0.5, -1.0])
        >>> print(auc.result().numpy())
        0.75
    """

    def __init__(self, name: str = "auc") -> None:
        """Starts without rows.

        Args:
            name: The metric's name.
        """
        super().__init__(name)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds rows.

        Args:
            y_true: [B] or [B, 1].
            y_pred: [B] or [B, 1].
            sample_weight: None.

        Raises:
            ValueError: Rows have weights.
        """
        _refuse_weights(self.name, sample_weight)
        self._add(None, y_true, y_pred)

    def _value(self) -> np.float64:
        pairs = self._pairs
        total = int(pairs.positives.sum()) * int(pairs.negatives.sum())
        return np.float64(int(pairs.twice_won.sum()) / (2 * total) if total else 0.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name}


@registered
class GroupedAUC(_PairMetric):
    """Exact AUC of each group's (user's, session's) rows, averaged over the groups with both labels.

    The trainer's `gauc` and `session_auc`. Labels above 0 are positive; row weights are refused. It works in
    one process, without XLA.

    Examples:
        >>> import hvdrec
        >>> gauc = hvdrec.keras.GroupedAUC(sessions="user")
        >>> gauc.update_state({"label": [1, 0, 1, 0], "user": ["a", "a", "b", "b"]}, [2.0, 1.0, 0.5, 0.5])
        >>> print(gauc.result().numpy())
        0.75
    """

    def __init__(self, sessions: Sessions, reduction: str = "mean", name: str = "gauc") -> None:
        """Starts without rows.

        Args:
            sessions: How `y_true` contains groups, as for `RankNetLoss`.
            reduction: The weight of a group: ``mean`` is equal weights, ``mean_by_sample_num`` its rows,
                ``mean_by_positive_num`` its positive rows.
            name: The metric's name.

        Raises:
            ValueError: The reduction is unknown, or there are no sessions.
        """
        super().__init__(name)
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}: must be one of {', '.join(REDUCTIONS)}")
        self.sessions, self.reduction = loaded(sessions), reduction
        if self.sessions is None:
            raise ValueError("GroupedAUC needs sessions")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds rows.

        Args:
            y_true: The value from which `sessions` extracts labels and groups.
            y_pred: [B] or [B, 1].
            sample_weight: None.

        Raises:
            ValueError: Rows have weights.
        """
        _refuse_weights(self.name, sample_weight)
        labels, groups = split(y_true, self.sessions)
        self._add(groups, labels, y_pred)

    def _value(self) -> np.float64:
        pairs = self._pairs
        count = 2 * pairs.positives * pairs.negatives
        valid = count > 0
        if not valid.any():
            return np.float64(0.0)
        weights = {
            "mean": np.ones_like(count),
            "mean_by_sample_num": pairs.positives + pairs.negatives,
            "mean_by_positive_num": pairs.positives,
        }[self.reduction][valid]
        return np.float64((pairs.twice_won[valid] / count[valid] * weights).sum() / weights.sum())

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {"name": self.name, "sessions": saved(self.sessions), "reduction": self.reduction}


def _refuse_weights(name: str, sample_weight: Any) -> None:
    if sample_weight is not None:
        raise ValueError(
            f"metric {name} does not support sample_weight; pass it in "
            "compile(metrics=...), not weighted_metrics"
        )
