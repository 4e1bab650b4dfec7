"""A failure of one rank stops all of them, with its message and without losing what was saved."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import subprocess
import time

import psutil
import pytest
from commands.running import keep_threads, training
from multirank.launch import command, start
from small_job import SmallJob, write_data

pytestmark = pytest.mark.multirank


@pytest.fixture
def job(tmp_path: pathlib.Path) -> SmallJob:
    """400 rows, 25 steps of 2 x 8."""
    write_data(tmp_path / "train.csv", 400)
    return SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=8, train_extra="steps_per_call: 2")


def _train(job: SmallJob, launcher: str, ranks: int, *flags: str) -> subprocess.CompletedProcess[str]:
    config = job.write(job.model_dir.parent / "job.config")
    arguments = ["-m", "hvdrec.train", "--pipeline_config_path", str(config), *flags]
    return start(launcher, ranks, arguments)


def _edit_row(job: SmallJob, row: int, old: str, new: str) -> None:
    lines = job.train.read_text().splitlines()
    lines[row - 1] = re.sub(old, new, lines[row - 1])
    job.train.write_text("\n".join(lines) + "\n")


def test_a_bad_row_stops_every_rank_and_keeps_the_checkpoint(job: SmallJob) -> None:
    _edit_row(job, 300, r"^\d,", "yes,")
    # A rank that waited for the other would be there until the limit of a launch.
    done = _train(job, "horovodrun", 2)
    assert done.returncode == 2 or done.returncode == 1
    text = done.stdout + done.stderr
    assert "train.csv" in text
    assert "row 300" in text
    assert "label" in text
    assert "Traceback" not in text
    assert (job.model_dir / "model.ckpt-0.index").exists()


def test_a_number_that_is_not_finite_names_tensor_step_rank_and_row(job: SmallJob) -> None:
    job.model = "DCN"
    job.train_extra += " allreduce_buckets: 3 sparse_reduce: GATHER allgather_compression: FP16"
    # Row 150 is in step 9 (from 0) on rank 0: rows 145 to 160, the first eight are rank 0's.
    _edit_row(job, 150, r",[-\d.]+,([\d.]+),u", r",3e38,\1,u")
    done = _train(job, "mpirun", 2)
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "step 9: rank 0: not finite" in text
    assert "row 150" in text
    assert "Traceback" not in text
    saved = [p.name for p in job.model_dir.glob("model.ckpt-*.index")]
    assert saved == ["model.ckpt-0.index"]


def test_a_suspended_rank_is_named_and_killed_and_ends_the_job_within_seconds(
    job: SmallJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HVDREC_HANGING_AFTER_SECONDS", "12")
    job.steps = 10_000_000
    config = job.write(job.model_dir.parent / "job.config")
    arguments = ["-m", "hvdrec.train", "--pipeline_config_path", str(config)]
    with subprocess.Popen(
        command("horovodrun", 2, arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as launched:
        record = job.model_dir / "logs" / "rank-1.jsonl"
        deadline = time.monotonic() + 300
        while not (record.exists() and '"step"' in record.read_text()) and time.monotonic() < deadline:
            time.sleep(0.2)
        children = psutil.Process(launched.pid).children(recursive=True)
        workers = [c for c in children if c.cmdline()[1:3] == ["-m", "hvdrec.train"]]
        assert len(workers) == 2, [c.cmdline() for c in children]
        killed = int(workers[-1].environ()["OMPI_COMM_WORLD_RANK"])
        workers[-1].send_signal(signal.SIGSTOP)
        # Twelve seconds until it is killed; by default, five minutes.
        text = launched.communicate(timeout=150)[0]
        assert launched.returncode != 0
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    name = rf"rank {killed} on .* \(process {workers[-1].pid}\)"
    assert re.search(rf"{name} is suspended, and the other ranks wait for it; it is killed after 12 s", text)
    assert re.search(rf"{name} hasn't responded for 12 s and is killed", text)
    said = json.loads((job.model_dir / "logs/failure.json").read_text())
    assert said == {"rank": killed, "message": "ended without a message (killed, or out of memory)"}


def test_differing_replicas_are_found(job: SmallJob) -> None:
    program = """
import sys
from hvdrec.trainer.loop import Loop
original = Loop._call
def call(self, count):
    done = original(self, count)
    if self.parts.group.rank == 1 and self.now == 6:
        self.parts.step.recommender.store.variables_by_name["output/bias"].assign_add([1e-6])
    return done
Loop._call = call
from hvdrec.train import main, parse_train, run
sys.exit(main(parse_train, run, sys.argv[1:]))
"""
    path = job.model_dir.parent / "perturb.py"
    path.write_text(program)
    config = job.write(job.model_dir.parent / "job.config")
    flags = ["--pipeline_config_path", str(config), "--verify_replicas", "4"]
    done = start("mpirun", 2, [str(path), *flags])
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert re.search(r"step 8: replicas differ: output/bias on rank 1", text), text


def test_checkpoints_in_the_way_are_not_overwritten(
    job: SmallJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_threads(monkeypatch)
    job.steps = 4
    config = job.write(job.model_dir.parent / "job.config")
    assert training(config) == 0
    before = (job.model_dir / "pipeline.config").read_bytes()
    assert training(config, "--train_config.num_steps=6") == 2
    assert "--continue_train" in capsys.readouterr().err
    assert (job.model_dir / "pipeline.config").read_bytes() == before
    assert training(config, "--continue_train", "--train_config.num_steps=6") == 0
    assert (job.model_dir / "model.ckpt-6.index").exists()


def test_mirrored_strategy_starts_its_own_ranks(job: SmallJob) -> None:
    job.train_extra = "train_distribute: MirroredStrategy num_gpus_per_worker: 2"
    done = _train(job, "plain", 1)
    assert done.returncode == 0, done.stderr
    assert (job.model_dir / "logs" / "rank-1.jsonl").exists()
