"""Traces of single calls of steps (`train_config.is_profiling`), for Chrome and TensorBoard."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from hvdrec.trainer.run.log import logger
from hvdrec.trainer.step.feed import FeedCall


def log_devices() -> None:
    """Prints the device of every operation to standard output, as EasyRec does.

    Must run before TensorFlow's first operation.
    """
    tf.debugging.set_log_device_placement(True)


class Profiler:
    """Traces the call that begins every `period` steps, except the first, which builds the graph.

    A trace is ``model_dir/timeline-<step>.json`` in the trace event format (chrome://tracing,
    Perfetto) and, for TensorBoard's profiler, ``model_dir/plugins/profile/step-<step>``.

    Attributes:
        period: The number of steps between traces.
    """

    def __init__(
        self, model_dir: str, period: int, active: bool = True, shown: Callable[[str], str] = str
    ) -> None:
        """Doesn't trace anything yet.

        Args:
            model_dir: The folder for traces.
            period: The number of steps between traces.
            active: Whether this rank is traced; the other ranks only begin their calls at the same steps.
            shown: Converts a path in `model_dir` for users.
        """
        self.period = period
        self._shown = shown
        self._active = active
        self._model_dir = Path(model_dir)
        self._warm = False
        self._folder: str | None = None
        self._step = 0

    def before(self, step: int, call: FeedCall) -> None:
        """Begins a trace."""
        if not self._warm or not self._active:
            self._warm = True
            return
        self._step = step
        try:
            self._folder = tempfile.mkdtemp(prefix="hvdrec-profile-")
            tf.profiler.experimental.start(self._folder)
        except (OSError, tf.errors.OpError) as error:
            self._give_up(error)

    def after(self, step: int) -> None:
        """Ends the trace and writes the files; if that fails, training continues without them."""
        if self._folder is None:
            return
        try:
            tf.profiler.experimental.stop()
            self._write(Path(self._folder))
        except (OSError, tf.errors.OpError) as error:
            self._give_up(error)
        else:
            self._clear()

    def _write(self, folder: Path) -> None:
        found = sorted(folder.rglob("*.xplane.pb"))
        space = xplane_pb2.XSpace()
        target = self._model_dir / "plugins/profile" / f"step-{self._step}"
        target.mkdir(parents=True, exist_ok=True)
        for path in found:
            space.MergeFromString(path.read_bytes())
            shutil.copyfile(path, target / path.name)
        timeline = self._model_dir / f"timeline-{self._step}.json"
        timeline.write_text(json.dumps(trace_events(space)), encoding="utf-8")
        logger.info("traced steps from %d on: %s", self._step, self._shown(str(timeline)))

    def _give_up(self, error: Exception) -> None:
        logger.warning("could not trace step %d: %s", self._step, error)
        self._clear()

    def _clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None


def trace_events(space: xplane_pb2.XSpace) -> dict[str, Any]:
    """TensorFlow's profile in the trace event format: one process per plane, one thread per line.

    Times are in microseconds.
    """
    events: list[dict[str, Any]] = []
    for pid, plane in enumerate(space.planes, start=1):
        if not plane.lines:
            continue
        events.append({"ph": "M", "pid": pid, "name": "process_name", "args": {"name": plane.name}})
        for tid, line in enumerate(plane.lines, start=1):
            name = {"name": line.display_name or line.name}
            events.append({"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": name})
            for event in line.events:
                about = plane.event_metadata[event.metadata_id]
                events.append(
                    {
                        **{"ph": "X", "pid": pid, "tid": tid, "name": about.display_name or about.name},
                        "ts": line.timestamp_ns / 1e3 + event.offset_ps / 1e6,
                        "dur": event.duration_ps / 1e6,
                    }
                )
    return {"displayTimeUnit": "ns", "traceEvents": events}
