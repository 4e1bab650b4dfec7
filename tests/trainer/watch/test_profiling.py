"""Traces of single calls."""

from __future__ import annotations

import json
import pathlib

from small_job import SmallJob, write_data
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from hvdrec.config import load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.profiling import trace_events


def test_calls_are_traced_for_chrome_and_tensorboard(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "t.csv", 64)
    job = SmallJob(tmp_path / "t.csv", tmp_path / "model", model="FM", steps=8,
                   train_extra="is_profiling: true steps_per_call: 3")  # fmt: skip
    text = job.text().replace("log_step_count_steps: 1", "log_step_count_steps: 4")
    (tmp_path / "job.config").write_text(text)
    Job(load(str(tmp_path / "job.config")), SingleReplica()).train(False, 0)
    assert [p.name for p in (tmp_path / "model").glob("timeline-*")] == ["timeline-4.json"]
    trace = json.loads((tmp_path / "model/timeline-4.json").read_text())["traceEvents"]
    assert [e["name"] for e in trace].count("HvdrecAdam") == 3
    (written,) = (tmp_path / "model/plugins/profile/step-4").iterdir()
    space = xplane_pb2.XSpace.FromString(written.read_bytes())
    assert trace_events(space)["traceEvents"] == trace


def test_times_are_microseconds() -> None:
    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/host:CPU")
    plane.event_metadata[7].name = "MatMul"
    line = plane.lines.add(name="python", timestamp_ns=2000)
    line.events.add(metadata_id=7, offset_ps=500_000, duration_ps=3_000_000)
    assert trace_events(space)["traceEvents"][-1] == {
        "ph": "X", "pid": 1, "tid": 1, "name": "MatMul", "ts": 2.5, "dur": 3.0,
    }  # fmt: skip
