"""The interface of metrics: counts and sums over rows that merge exactly over ranks."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence

import numpy as np

State = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class EvalBatch:
    """One evaluated batch, possibly without rows.

    Attributes:
        labels: float32 [B]; int64 [B] class ids for a model of embeddings.
        predictions: The model's predictions by EasyRec's names: ``probs`` and ``logits`` (float32
            [B] or [B, C]), ``y`` ([B]), ...
        ids: int64 [B] by feature or field; equal ids mean equal values, on all ranks.
    """

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    ids: dict[str, np.ndarray]


class Metric(abc.ABC):
    """A number over all evaluated rows of all ranks.

    The result depends only on the set of rows, not on how they are divided into batches and ranks, nor on the
    order of batches or states.

    Attributes:
        needs: The rows that the metric requires; without them its result is NaN.
    """

    needs = "rows"

    @abc.abstractmethod
    def update(self, batch: EvalBatch) -> None:
        """Adds the rows of a batch."""

    @abc.abstractmethod
    def state(self) -> State:
        """Everything that was added, as plain arrays, for exchange between ranks."""

    @abc.abstractmethod
    def merge(self, states: Sequence[State]) -> None:
        """Replaces the state by the sum of these states (of all ranks)."""

    @abc.abstractmethod
    def result(self) -> dict[str, float]:
        """The metric by EasyRec's name; NaN if it is undefined."""
