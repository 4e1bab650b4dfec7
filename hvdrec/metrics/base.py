"""What a metric is: counts and sums of rows that merge exactly over ranks."""

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
        predictions: What the model predicts by EasyRec's names: ``probs`` and ``logits`` (float32
            [B] or [B, C]), ``y`` ([B]), ...
        ids: int64 [B] by feature or field; equal ids mean equal values, on all ranks.
    """

    labels: np.ndarray
    predictions: dict[str, np.ndarray]
    ids: dict[str, np.ndarray]


class Metric(abc.ABC):
    """A number over all evaluated rows of all ranks.

    The result is a function of the set of rows alone: not of how they are divided into batches
    and ranks, nor of the order of batches or of states.

    Attributes:
        needs: The rows without which the metric isn't defined; its result is NaN then.
    """

    needs = "rows"

    @abc.abstractmethod
    def update(self, batch: EvalBatch) -> None:
        """Adds the rows of a batch."""

    @abc.abstractmethod
    def state(self) -> State:
        """All that was added, as plain arrays: what travels between ranks."""

    @abc.abstractmethod
    def merge(self, states: Sequence[State]) -> None:
        """Replaces what was added by the sum of these states (those of all ranks)."""

    @abc.abstractmethod
    def result(self) -> dict[str, float]:
        """The metric by EasyRec's name; NaN where it isn't defined."""
