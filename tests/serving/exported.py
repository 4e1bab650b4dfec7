"""Models with nontrivial weights, and requests for them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import sysconfig
from typing import Any

import numpy as np
import tensorflow as tf

from hvdrec.config import Config
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving.inputs import JOINED, request_fields
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.evaluator import Evaluator

BARE = pathlib.Path(__file__).with_name("bare_process.py")
_DTYPES = {
    "STRING": np.bytes_,
    "INT32": np.int32,
    "INT64": np.int64,
    "FLOAT": np.float32,
    "DOUBLE": np.float64,
    "BOOL": np.bool_,
}


def random_job(config: Config, seed: int = 0) -> Job:
    """A job whose weights are all random, so that every input shows in the output."""
    job = Job(config, SingleReplica())
    rng = np.random.default_rng(seed)
    for entry in job.entries():
        if entry.variable.dtype == tf.float32 and entry.rows is None:
            values = rng.normal(0, 0.3, entry.variable.shape)
            positive = entry.name.endswith(("moving_variance", "gamma"))
            entry.variable.assign(np.abs(values) + 0.5 if positive else values)
    for bank in job.recommender.banks:
        bank.variable.assign(rng.normal(0, 0.5, bank.variable.shape))
    return job


def trainers_predictions(job: Job, path: pathlib.Path | None = None) -> dict[str, np.ndarray]:
    """What evaluation predicts for the rows of a file, or of the job's evaluation input."""
    evaluator = Evaluator(job.recommender, job.feed)
    paths = None if path is None else [str(path)]
    with open_batches(job.proto, job.plan, SingleReplica(), False, paths=paths) as batches:
        parts = [evaluator.predict(batch) for batch in batches]
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def typed_request(proto: Any, cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Cells as a client sends them: numbers by the field's type, defaults filled in."""
    kinds = proto.data_config.Field.DESCRIPTOR.fields_by_name["input_type"].enum_type.values_by_number
    request = {}
    for field in proto.data_config.input_fields:
        kind = kinds[field.input_type].name
        if field.input_name in cells:
            filled = [cell or field.default_val for cell in cells[field.input_name]]
            if kind == "STRING":
                request[field.input_name] = np.asarray([c.encode() for c in filled])
            else:
                request[field.input_name] = np.asarray(filled, np.float64).astype(_DTYPES[kind])
    return request


def request_of(job: Job, cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """The cells of all input fields as a request to the job's exported model."""
    inputs = {i.name for i in ServingModule(job.proto, job.recommender).inputs}
    if inputs == {JOINED}:
        rows = zip(*(cells[name] for name in request_fields(job.proto, None)), strict=True)
        return {JOINED: np.asarray([job.proto.data_config.separator.join(row).encode() for row in rows])}
    return typed_request(job.proto, {name: cells[name] for name in cells if name in inputs})


def bare(mode: str, argument: str, **options: Any) -> subprocess.Popen[str]:
    """Starts the bare process: neither site nor PYTHONPATH nor this folder lead to hvdrec."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-S", "-I", str(BARE), sysconfig.get_path("purelib"), mode, argument]
    return subprocess.Popen(
        command,
        cwd="/",
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def predict_bare(
    tmp_path: pathlib.Path, models: dict[str, tuple[pathlib.Path, dict[str, np.ndarray]]]
) -> dict[str, dict[str, np.ndarray]]:
    """Outputs of exported models in a bare process: by name, from folders and requests."""
    process = bare("predict", _write_job(tmp_path, models), stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    return {name: dict(np.load(tmp_path / f"{name}-out.npz")) for name in models}


def _write_job(tmp_path: pathlib.Path, models: dict[str, tuple[pathlib.Path, dict[str, np.ndarray]]]) -> str:
    job = []
    for name, (folder, request) in models.items():
        np.savez(tmp_path / f"{name}-in.npz", **request)
        places = {"inputs": f"{name}-in.npz", "outputs": f"{name}-out.npz"}
        job.append({"folder": str(folder), **{k: str(tmp_path / v) for k, v in places.items()}})
    (tmp_path / "job.json").write_text(json.dumps(job))
    return str(tmp_path / "job.json")


class BareProcess:
    """One bare process for the exported models of several tests."""

    def __init__(self) -> None:
        self._process = bare("predict_each", "-", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def predict(
        self, tmp_path: pathlib.Path, folder: pathlib.Path, request: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of the model in `folder`; fails with the process's error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_write_job(tmp_path, {"served": (folder, request)}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer == "done", answer or "the bare process has ended"
        return dict(np.load(tmp_path / "served-out.npz"))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)
