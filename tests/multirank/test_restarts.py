"""`hvdrec.launch local --restarts`: killed ranks cost only the steps since the last checkpoint."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import time

import psutil
import pytest
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits

pytestmark = pytest.mark.multirank

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 600


def _job(folder: pathlib.Path, name: str) -> tuple[SmallJob, list[str]]:
    job = SmallJob(
        folder / "train.csv",
        folder / name,
        batch_size=8,
        steps=STEPS,
        train_extra="steps_per_call: 1",
        data_extra="shuffle: true",
    )
    config = job.write(folder / f"{name}.config")
    config.write_text(
        config.read_text().replace("save_checkpoints_steps: 1000", "save_checkpoints_steps: 100")
    )
    return job, [
        sys.executable,
        "-m",
        "hvdrec.launch",
        "local",
        "-np",
        "2",
        "--pipeline_config_path",
        str(config),
    ]


def _ranks(parent: int) -> list[psutil.Process]:
    found = psutil.Process(parent).children(recursive=True)
    return [p for p in found if p.name().startswith("python") and "hvdrec.train" in p.cmdline()[:3]]


def _kill_one(run: subprocess.Popen[str], job: SmallJob, after: int) -> None:
    """Kills rank 1 or 0 once there is a checkpoint beyond a step."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and run.poll() is None:
        steps = [int(p.stem.rpartition("-")[2]) for p in job.model_dir.glob("model.ckpt-*.index")]
        if max(steps, default=0) > after and (ranks := _ranks(run.pid)):
            ranks[after % len(ranks)].kill()
            return
        time.sleep(0.02)
    pytest.fail(f"no checkpoint beyond step {after}")


def test_killed_ranks_are_started_again_and_end_with_the_same_bits(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 400)
    whole, command = _job(tmp_path, "whole")
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    job, command = _job(tmp_path, "killed")
    command[4:4] = ["--restarts", "3"]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        _kill_one(run, job, 99)
        shown = run.communicate(timeout=200)[0]
    assert run.returncode == 0, shown
    told = re.findall(r"restarting all from the last checkpoint \(restart (\d) of 3\)", shown)
    assert told == ["1"], shown
    last = f"model.ckpt-{STEPS}"
    assert_same_bits(str(whole.model_dir / last), str(job.model_dir / last))


def test_a_mistake_is_not_made_again(tmp_path: pathlib.Path) -> None:
    job, command = _job(tmp_path, "wrong")
    command[4:4] = ["--restarts", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert str(job.train) in done.stderr
    assert "restarting" not in done.stderr
