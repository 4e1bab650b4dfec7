"""Whole runs on parameter servers: they learn, their checkpoints work with Horovod, and lost processes are survived."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import psutil
import pytest
from server_run import SECONDS, ServerRun, predict, small_job, values, write

from hvdrec.checkpoint.deltas import Variables, rows_in
from hvdrec.config import load
from hvdrec.parallel.cluster import answers
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

pytestmark = pytest.mark.multirank


def _wait_until_it_computes(run: ServerRun, worker: psutil.Process) -> None:
    """Its CPU time doesn't increase between the end of its imports and its first batch."""
    address = json.loads(worker.environ()["TF_CONFIG"])["cluster"]["worker"][1]
    run.until(lambda: answers(address))
    began = worker.cpu_times().user
    run.until(lambda: worker.cpu_times().user >= began + 0.5)


def test_a_run_goes_from_horovod_to_servers_and_back(tmp_path: pathlib.Path) -> None:
    job = small_job(
        tmp_path,
        "model",
        model="MMoE",
        metrics="",
        evaluation=tmp_path / "eval.csv",
        batch_norm=True,
        train_extra="train_distribute: PSStrategy save_summary_steps: 10",
    )
    config = load(write(job))
    first = Job(config, SingleReplica())
    first.train(False, 0)
    before = first.entries()
    job.steps = 160
    run = ServerRun(
        "--workers",
        "2",
        "--ps",
        "2",
        "--pipeline_config_path",
        write(job),
        "--continue_train",
        "--eval_method",
        "separate",
    )
    assert run.wait() == 0, run.text
    assert "2 workers and 2 servers, asynchronously" in run.text
    assert "[evaluator] evaluation: auc_ctr" in run.text
    assert "continuing from" in run.text
    saved = values(job.model_dir / "model.ckpt-160")
    assert {e.name: e.shape for e in before} == {name: value.shape for name, value in saved.items()}
    assert saved["global_step"] == 160
    # 140 steps of Adam: beta1_power was multiplied at each, but for the race of two workers.
    assert 0 < saved["beta2_power"] <= 0.999**100
    again = Job(load(write(job)), SingleReplica())
    again.store.restore(str(job.model_dir / "model.ckpt-160"), again.entries())
    here = again.evaluate(again.evaluator())
    there = json.loads((job.model_dir / "eval_result.txt").read_text())
    assert there.pop("global_step") == 160
    assert here == pytest.approx(there, abs=1e-6)
    assert here["auc_ctr"] > 0.75
    for name, value in saved.items():
        entry = next(e for e in again.entries() if e.name == name)
        found = entry.variable.numpy()[slice(*entry.rows)] if entry.rows else entry.variable.numpy()
        np.testing.assert_array_equal(found, value, err_msg=name)
    job.steps = 170
    assert Job(load(write(job)), SingleReplica()).train(True, 0)["auc_ctr"] > 0.75


def test_workers_in_step_do_what_one_process_does_with_their_rows(tmp_path: pathlib.Path) -> None:
    """Also attention over histories, moving averages and their exports."""
    rate = "adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } }"
    changes = {
        "model": "MultiTowerDIN",
        "train_extra": "gradient_clipping_by_norm: 0.05",
        "optimizer": f"{rate} use_moving_average: true moving_average_decay: 0.9",
        "export": 'exporter_type: "final"',
    }
    job = small_job(tmp_path, "alone", **changes)
    Job(load(write(job)), SingleReplica()).train(False, 0)
    alone = values(job.model_dir / "model.ckpt-20")
    changes["train_extra"] += " incr_save_config { dense_save_steps: 8 sparse_save_steps: 8 fs {} }"
    job = small_job(tmp_path, "servers", batch_size=24, **changes)
    run = ServerRun(
        "--workers",
        "2",
        "--ps",
        "2",
        "--pipeline_config_path",
        write(job),
        "--train_config.sync_replicas=true",
    )
    assert run.wait() == 0, run.text
    assert "2 workers and 2 servers, in step" in run.text
    together = values(job.model_dir / "model.ckpt-20")
    assert alone.keys() == together.keys()
    for name, value in alone.items():
        # A softmax takes the bias of its scores away: Adam moves it by the rounding of a gradient that is 0.
        if not name.startswith("history_dnn/dnn_1/bias"):
            np.testing.assert_allclose(together[name], value, rtol=0, atol=1e-5, err_msg=name)
    kernel = "final_dnn/dnn_0/kernel"
    assert np.abs(alone[f"{kernel}/Adam"]).max() > 0
    assert np.abs(alone[f"{kernel}/ExponentialMovingAverage"] - alone[kernel]).max() > 1e-3
    # Deltas have what is exported.
    folder = job.model_dir / "incr_save"
    assert {path.stem for path in folder.glob("sparse*.done")} == {
        f"sparse_update_{step}" for step in (8, 16, 20)
    }
    described = json.loads((folder / "variables.json").read_text())["tables"]
    tables = Variables((), tuple((name, tuple(v["shape"])) for name, v in described.items()))
    for number, (keys, rows) in rows_in((folder / "sparse_update_20").read_bytes(), tables).items():
        average = together[f"{tables.tables[number][0]}/ExponentialMovingAverage"]
        np.testing.assert_array_equal(rows, average[keys])
        assert len(keys) > 1
    exported = predict("--saved_model_dir", job.model_dir / "export" / "final", rows=job.train)
    np.testing.assert_allclose(exported, predict("--model_dir", job.model_dir, rows=job.train), atol=1e-5)


def _endless(
    folder: pathlib.Path, log_step_count_steps: int = 20
) -> tuple[ServerRun, list[str], Callable[[], int]]:
    """A run of two workers that saves every 100 steps, its arguments, and a function that returns its newest checkpoint."""
    job = small_job(folder, "model", steps=1_000_000, train_extra="save_summary_steps: 0")
    arguments = [
        *("--workers", "2", "--ps", "1", "--pipeline_config_path", write(job)),
        "--train_config.train_distribute=PSStrategy",
        "--train_config.save_checkpoints_steps=100",
        f"--train_config.log_step_count_steps={log_step_count_steps}",
    ]

    def newest() -> int:
        return max(
            (int(p.stem.rpartition("-")[2]) for p in job.model_dir.glob("model.ckpt-*.index")), default=0
        )

    return ServerRun(*arguments), arguments, newest


def _keep_away(run: ServerRun, name: str) -> None:
    """Kills a worker, and stops the one that takes its place before it listens."""
    killed = run.role(name)
    killed.kill()
    run.until(lambda: run.role(name) != killed)
    run.role(name).suspend()


def test_a_lost_server_ends_the_run(tmp_path: pathlib.Path) -> None:
    run, arguments, newest = _endless(tmp_path)
    run.until(lambda: newest() >= 100)
    run.role("ps").kill()
    assert run.wait() == 1, run.text
    # The chief or the launcher, whichever notices it first.
    assert re.search(
        r"ps was ended by SIGKILL .*; its variables are lost|hvdrec: error: ps 0 is gone", run.text
    )
    assert "--continue_train" in run.text
    assert "GRPC" not in run.text
    assert "Traceback" not in run.text
    kept = newest()
    folder = tmp_path / "model"
    assert values(folder / f"model.ckpt-{kept}")["global_step"] == kept

    run = ServerRun(*arguments, "--continue_train")
    run.until(lambda: newest() > kept)
    for name in ("worker-0", "worker-1"):
        _keep_away(run, name)
    run.until(lambda: run.text.count("is lost; the others take over its batches") == 2)
    run.role("ps").kill()
    # TensorFlow doesn't notify a chief that waits for workers.
    assert run.wait() == 1, run.text
    assert "[chief] hvdrec: error: ps 0 is gone" in run.text
    assert (folder / "logs" / "worker-0.log").exists()


def test_lost_workers_are_replaced(tmp_path: pathlib.Path) -> None:
    """Whatever the moment; every step is done and reported once."""
    seed = random.SystemRandom().randrange(10**6)
    moment = random.Random(seed)
    run, _, newest = _endless(tmp_path, log_step_count_steps=1)
    run.until(lambda: newest() >= 100)
    for kill in range(4):
        time.sleep(moment.uniform(0, 1.5))
        run.role(f"worker-{kill % 2}").kill()
    again = r"worker-1 was ended by SIGKILL .*; restarting it"
    run.until(lambda: len(re.findall(again, run.text)) == 2)
    assert "worker 1 is lost; the others take over its batches" in run.text
    _wait_until_it_computes(run, run.role("worker-1"))
    _keep_away(run, "worker-0")
    # Now only the restarted one can continue.
    reached = newest()
    run.until(lambda: newest() >= reached + 200)
    for name, act in (("worker-1", psutil.Process.kill), ("worker-0", psutil.Process.resume)):
        back = f"{name.replace('-', ' ')} is back"
        before = run.text.count(back)
        act(run.role(name))
        run.until(lambda back=back, before=before: run.text.count(back) > before)
        reached = newest()
        run.until(lambda reached=reached: newest() >= reached + 200)
    run.process.send_signal(signal.SIGINT)
    assert run.wait() == 130, (seed, run.text)
    assert "which is saved" in run.text
    lines = (tmp_path / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [record["step"] for record in map(json.loads, lines) if record["kind"] == "step"]
    assert steps == list(range(newest()))


def test_a_worker_that_dies_again_and_again_ends_the_run_with_all_saved(tmp_path: pathlib.Path) -> None:
    job = small_job(tmp_path, "model", steps=1_000_000, train_extra="train_distribute: PSStrategy")
    run = ServerRun("--workers", "1", "--ps", "1", "--pipeline_config_path", write(job))
    record = job.model_dir / "logs" / "rank-0.jsonl"
    run.until(lambda: record.exists() and '"step": 50,' in record.read_text())
    for kill in range(4):
        worker = run.role("worker")
        worker.kill()
        run.until(lambda kill=kill: run.text.count("[worker]") + run.text.count("worker was ended") > kill)
    assert run.wait() == 1, run.text
    assert "repeatedly" in run.text
    stopped = re.search(r"stopped by SIGTERM at step (\d+), which is saved", run.text)
    assert stopped
    records = map(json.loads, record.read_text().splitlines())
    steps = [r["step"] for r in records if r["kind"] == "step"]
    assert steps == list(range(int(stopped[1])))
    assert values(job.model_dir / f"model.ckpt-{stopped[1]}")["global_step"] == int(stopped[1])


def test_processes_started_by_hand_let_the_chief_save_and_end_with_it(tmp_path: pathlib.Path) -> None:
    """The commands that --print shows are whole. Schedulers signal all processes of a job."""
    job = small_job(tmp_path, "model", steps=1_000_000, train_extra="train_distribute: PSStrategy")
    launch = [sys.executable, "-m", "hvdrec.launch", "ps", "--print", "--workers", "1", "--ps", "1"]
    shown = subprocess.run(
        [*launch, "--pipeline_config_path", write(job)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for line in shown.stdout.splitlines():
            variable, *command = shlex.split(line)
            name, _, value = variable.partition("=")
            role = json.loads(value)["task"]["type"]
            started[role] = subprocess.Popen(
                command, env={**os.environ, name: value}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        assert started.keys() == {"chief", "worker", "ps"}
        began = time.monotonic()
        record = job.model_dir / "logs" / "rank-0.jsonl"
        while not record.exists() or '"step"' not in record.read_text():
            assert time.monotonic() - began < SECONDS
            time.sleep(0.1)
        for role in ("worker", "ps", "chief"):
            started[role].terminate()
        assert [started[role].wait(SECONDS) for role in ("chief", "worker", "ps")] == [143, 0, 0]
        # Whatever the chief ends by; without the others it would have left that of step 0 only.
        assert len(list(job.model_dir.glob("model.ckpt-*.index"))) == 2
    finally:
        for process in started.values():
            process.kill()
            process.wait()


def test_nothing_is_left_when_the_launcher_is_killed(tmp_path: pathlib.Path) -> None:
    job = small_job(tmp_path, "model", train_extra="train_distribute: PSStrategy")
    run = ServerRun("--workers", "2", "--ps", "1", "--pipeline_config_path", write(job))
    roles = [run.role(name) for name in ("chief", "worker-0", "worker-1", "ps")]
    run.process.kill()
    run.process.wait()
    assert not psutil.wait_procs(roles, timeout=120)[1]
