"""Two ranks that read a topic, send deltas and are killed (SIGKILL): no row lost or used twice."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf
from data.broker import PARTITIONS, Broker
from multirank.launch import command
from small_job import SmallJob, write_data

from hvdrec.checkpoint.deltas import Variables, rows_in

BATCH, RANKS, STEPS = 8, 2, 36


def _start(config: pathlib.Path) -> subprocess.Popen[bytes]:
    arguments = ["-m", "hvdrec.train", "--pipeline_config_path", str(config), "--continue_train"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
    return subprocess.Popen(
        command("horovodrun", RANKS, arguments),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _newest(folder: pathlib.Path) -> int:
    return max((int(path.name[11:-6]) for path in folder.glob("model.ckpt-*.index")), default=-1)


def _assert_each_row_once(folder: pathlib.Path, step: int) -> None:
    """As many rows as were trained on are before the offsets."""
    kept = json.loads((folder / f"model.ckpt-{step}.manifest.json").read_text())["extra"]
    assert sum(kept["offsets"].values()) == step * BATCH * RANKS


def test_a_killed_run_goes_on(tmp_path: pathlib.Path) -> None:
    broker, rows = Broker(), BATCH * RANKS * STEPS
    write_data(tmp_path / "rows.csv", rows)
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    for partition in range(PARTITIONS):
        broker.send("rows", partition, lines[partition::PARTITIONS])
    job = SmallJob(
        tmp_path / "rows.csv",
        tmp_path / "run",
        model="FM",
        batch_size=BATCH,
        train_extra="incr_save_config { dense_save_steps: 2 sparse_save_steps: 2 fs {} }",
    )
    path = job.write(tmp_path / "run.config")
    text = path.read_text().replace("CSVInput", "KafkaInput").replace("steps: 1000", "steps: 3")
    text = text.replace(f'train_input_path: "{job.train}"', f"kafka_train_input {broker.message('rows')}")
    path.write_text(text)
    folder = tmp_path / "run"
    with _start(path) as run:
        until = time.monotonic() + 120
        while _newest(folder) < 6:
            assert run.poll() is None, run.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.005)
        for process in [*psutil.Process(run.pid).children(recursive=True), run]:
            process.kill()
    killed = _newest(folder)
    if killed == STEPS:
        pytest.skip("it ended before it could be killed")
    _assert_each_row_once(folder, killed)
    with _start(path) as run:
        error = run.communicate(timeout=200)[1].decode()
    assert run.returncode == 0, error
    assert _newest(folder) == STEPS
    _assert_each_row_once(folder, STEPS)

    # The deltas are those of the run that went on, with the values of its checkpoint.
    described = json.loads((folder / "incr_save/variables.json").read_text())["tables"]
    variables = Variables((), tuple((name, tuple(v["shape"])) for name, v in described.items()))
    assert not list((folder / "incr_save").glob(".*"))
    found = rows_in((folder / f"incr_save/sparse_update_{STEPS}").read_bytes(), variables)
    reader = tf.train.load_checkpoint(str(folder / f"model.ckpt-{STEPS}"))
    for number, (keys, values) in found.items():
        np.testing.assert_array_equal(reader.get_tensor(variables.tables[number][0])[keys], values)
