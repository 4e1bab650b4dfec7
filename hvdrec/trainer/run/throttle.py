"""Limits how often a run is evaluated (`eval_config.eval_interval_secs`, `max_evals`)."""

from __future__ import annotations

import time
from typing import Any


class EvalThrottle:
    """Decides whether to evaluate after a checkpoint; the evaluation at the end of training always runs."""

    def __init__(self, eval_config: Any) -> None:
        """Takes the limits from `eval_config`; by default every checkpoint is evaluated."""
        given = eval_config.HasField("eval_interval_secs")
        self._seconds = float(eval_config.eval_interval_secs) if given else 0.0
        self._most = int(eval_config.max_evals)
        self._begun = 0
        self._last = float("-inf")

    @property
    def unlimited(self) -> bool:
        """Whether every checkpoint is evaluated."""
        return not self._seconds and not self._most

    def passes(self) -> bool:
        """Whether an evaluation may begin now; if so, it is recorded as begun (rank 0 decides)."""
        now = time.monotonic()
        if now - self._last < self._seconds or (self._most and self._begun >= self._most):
            return False
        self._last = now
        self._begun += 1
        return True
