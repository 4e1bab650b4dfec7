"""Calls on workers that complete only when their results have been copied here."""

from __future__ import annotations

import weakref
from typing import Any

from tensorflow.python.distribute.coordinator.cluster_coordinator import Closure
from tensorflow.python.distribute.coordinator.values import RemoteValueImpl


class RemoteCall(Closure):
    """A `tf.function` and its arguments, as TensorFlow's coordinator queues them for workers.

    TensorFlow's version marks a call as done while its results are still on the worker. The waiting caller
    then copies them, and fails if the worker is lost at that moment. Here the coordinator's thread copies
    them, and repeats the call on another worker if that fails.
    """

    def build_output_remote_value(self) -> Result:
        """Creates the holder of the results; must be called once."""
        result = Result(None, self._output_type_spec)
        self._output_remote_value_ref = weakref.ref(result)
        return result


class Result(RemoteValueImpl):
    """The results of a call, on this process."""

    def wait(self, seconds: float) -> bool:
        """Waits, with a timeout, until the call has run or failed; returns whether it has."""
        return self._status_available_event.wait(seconds)

    def _set_values(self, tensors: Any) -> None:
        self._values = tensors
        self._fetched_tensors = self._copy_to_local()
        self._has_fetched_to_local = True
        super()._set_values(None)
