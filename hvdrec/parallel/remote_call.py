"""Calls of workers whose results are here before they count as done."""

from __future__ import annotations

import weakref
from typing import Any

from tensorflow.python.distribute.coordinator.cluster_coordinator import Closure
from tensorflow.python.distribute.coordinator.values import RemoteValueImpl


class RemoteCall(Closure):
    """A `tf.function` and its arguments, as TensorFlow's coordinator queues them for workers.

    TensorFlow's own says that a call is done while its results are still on the worker. A caller that waits
    then copies them, and fails if the worker is lost in that moment. Here the coordinator's thread
    copies them, and has the call run again by another worker if it can't.
    """

    def build_output_remote_value(self) -> Result:
        """Where the results will be; to be called once."""
        result = Result(None, self._output_type_spec)
        self._output_remote_value_ref = weakref.ref(result)
        return result


class Result(RemoteValueImpl):
    """The results of a call, on this process."""

    def wait(self, seconds: float) -> bool:
        """Waits until the call has run or failed, at most so long; whether it has."""
        return self._status_available_event.wait(seconds)

    def _set_values(self, tensors: Any) -> None:
        self._values = tensors
        self._fetched_tensors = self._copy_to_local()
        self._has_fetched_to_local = True
        super()._set_values(None)
