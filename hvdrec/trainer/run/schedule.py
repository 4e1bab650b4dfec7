"""The number of steps of the next call, chosen so that it ends where an action is due."""

from __future__ import annotations

import dataclasses

#: Rows in one call when the number of steps is chosen automatically.
_ROWS_PER_CALL = 16384
_MOST_STEPS = 16


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When actions are due, in steps; 0 = never.

    Attributes:
        last: The step at which training ends (`num_steps`); 0 = when the data ends.
        save: `save_checkpoints_steps`.
        verify: `--verify_replicas`.
        per_call: The maximum number of steps per call.
        watch: Periods at which a call must begin, for watchers of single calls.
    """

    last: int
    save: int
    verify: int
    per_call: int
    watch: tuple[int, ...] = ()

    def next_call(self, step: int) -> int:
        """The number of steps to run from `step`; 0 when training is over."""
        count = self.per_call
        if self.last:
            count = min(count, max(0, self.last - step))
        for period in (self.save, self.verify, *self.watch):
            if period:
                count = min(count, period - step % period)
        return count

    def due(self, period: int, step: int) -> bool:
        """Whether an action with this period is due after `step` steps."""
        return bool(period) and step % period == 0


def steps_per_call(configured: int, batch_size: int) -> int:
    """`train_config.steps_per_call`, or enough steps to make Python's cost per call small."""
    return configured or max(1, min(_MOST_STEPS, _ROWS_PER_CALL // max(1, batch_size)))
