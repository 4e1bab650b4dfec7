"""gauc and session_auc: the mean AUC over users or sessions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hvdrec.config.metrics import REDUCTIONS
from hvdrec.errors import ConfigError
from hvdrec.metrics.base import EvalBatch, Metric, State
from hvdrec.metrics.exact import ExactMean
from hvdrec.metrics.inputs import positives, probabilities
from hvdrec.metrics.task import Task


class GroupedAuc(Metric):
    """Exact ROC-AUC of each id's rows, averaged over the ids with both labels.

    The rows are kept in memory, 13 bytes each; the result needs one sort.
    """

    needs = "an id with positive and negative rows"

    def __init__(self, name: str, id_name: str, reduction: str) -> None:
        """Starts with no rows.

        Args:
            name: The name of the result.
            id_name: The feature or field with the group ids.
            reduction: The weight of an id: ``mean`` is equal weights, ``mean_by_sample_num`` its rows,
                ``mean_by_positive_num`` its positive rows.
        """
        self._name, self._id_name, self._reduction = name, id_name, reduction
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def update(self, batch: EvalBatch) -> None:
        """Keeps the rows.

        Raises:
            ConfigError: The batch has no ids of that name.
        """
        if self._id_name not in batch.ids:
            raise ConfigError(f"eval_config.metrics_set.{self._name}: the data has no field {self._id_name}")
        ids = batch.ids[self._id_name].astype(np.int64)
        self._parts.append((ids, probabilities(batch).astype(np.float32), positives(batch)))

    def _rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        empty = (np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.bool_))
        ids, scores, positive = zip(empty, *self._parts, strict=True)
        self._parts = [(np.concatenate(ids), np.concatenate(scores), np.concatenate(positive))]
        return self._parts[0]

    def state(self) -> State:
        """The rows: ``ids`` int64 [N], ``scores`` float32 [N], ``positive`` bool [N]."""
        return dict(zip(("ids", "scores", "positive"), self._rows(), strict=True))

    def merge(self, states: Sequence[State]) -> None:
        """Takes all states' rows."""
        self._parts = [(s["ids"], s["scores"], s["positive"]) for s in states]

    def result(self) -> dict[str, float]:
        """The weighted mean; NaN if no id has both labels."""
        wins, rows, positive = group_wins(*self._rows())
        pairs = 2 * positive * (rows - positive)
        valid = pairs > 0
        areas = wins[valid] / pairs[valid]
        weights = {"mean": np.ones_like(rows), "mean_by_sample_num": rows, "mean_by_positive_num": positive}
        weight = weights[self._reduction][valid]
        mean = ExactMean()
        mean.add(areas * weight)
        total = int(weight.sum())
        return {self._name: mean.result() * areas.size / total if total else math.nan}


def group_wins(
    ids: np.ndarray, scores: np.ndarray, positive: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, for each id, the correctly ordered pairs of a positive and a negative row.

    The Mann-Whitney U from ranks, in integers: a positive's rank is the mean over the rows with its score,
    and the excess of the positives' ranks over 1, 2, ... is the number of pairs won.

    Args:
        ids: int64 [N].
        scores: float32 [N].
        positive: bool [N].

    Returns:
        int64 arrays [number of ids]: twice the pairs in order (a tie counts 1), rows, positive rows.
    """
    if ids.size == 0:
        return (np.zeros(0, np.int64),) * 3
    order = np.lexsort((scores, ids))
    ids, scores, positive = ids[order], scores[order], positive[order]
    new_id = np.concatenate([[True], ids[1:] != ids[:-1]])
    id_start = np.flatnonzero(new_id)
    rows = np.diff(np.append(id_start, ids.size))
    tie_start = np.flatnonzero(new_id | np.concatenate([[True], scores[1:] != scores[:-1]]))
    tie_end = np.append(tie_start[1:], ids.size)
    tie_positives = np.add.reduceat(positive, tie_start, dtype=np.int64)
    tie_id = np.cumsum(new_id)[tie_start] - 1
    # Twice the mean rank of the rows start..end-1 of an id, ranks counted from 1, is start + end + 1.
    twice_rank = tie_start + tie_end + 1 - 2 * id_start[tie_id]
    first_tie = np.searchsorted(tie_start, id_start)
    twice_rank_sums = np.add.reduceat(tie_positives * twice_rank, first_tie)
    positives_by_id = np.add.reduceat(tie_positives, first_tie)
    return twice_rank_sums - positives_by_id * (positives_by_id + 1), rows, positives_by_id


def _build(name: str, id_field: str, config: Any) -> GroupedAuc:
    if config.reduction not in REDUCTIONS:
        raise ConfigError(f"reduction: {config.reduction} is not one of {', '.join(REDUCTIONS)}")
    return GroupedAuc(name, getattr(config, id_field), config.reduction)


def build_gauc(config: Any, task: Task) -> GroupedAuc:
    """Builds gauc from a `GAUC` message."""
    return _build("gauc", "uid_field", config)


def build_session_auc(config: Any, task: Task) -> GroupedAuc:
    """Builds session_auc from a `SessionAUC` message."""
    return _build("session_auc", "session_id_field", config)
