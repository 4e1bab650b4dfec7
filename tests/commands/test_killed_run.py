"""A run that is killed (SIGKILL) repeatedly at any moment ends with the same bits as one that wasn't."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import time

import pytest
from multirank.launch import command
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, train

from hvdrec.parallel.single import SingleReplica

STEPS = 120


def test_same_bits(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    """Every step is saved, so most moments are within a save; `make soak` kills more often."""
    write_data(tmp_path / "train.csv", 1000)
    paths = []
    for name in ("whole", "killed"):
        job = SmallJob(
            tmp_path / "train.csv",
            tmp_path / name,
            model="FM",
            steps=STEPS,
            data_extra="shuffle: true shuffle_buffer_size: 100",
            train_extra="save_checkpoints_steps: 1" if name == "killed" else "",
        )
        paths.append(str(job.write(tmp_path / f"{name}.config")))
    train(paths[0], SingleReplica())
    model_dir = tmp_path / "killed"
    drawn = random.Random(1)
    for _ in range(max(1, request.config.getoption("kills") // 60)):
        _kill_after_saving(paths[1], model_dir, drawn.random() * 0.05)
        newest = max(int(p.name[11:-6]) for p in model_dir.glob("*.index"))
        if newest > 3 * STEPS // 4:
            # Little time is left for kills: start over.
            for path in model_dir.glob("model.ckpt-*"):
                os.unlink(path)
    train(paths[1], SingleReplica(), begun=True)
    assert_same_bits(f"{tmp_path}/whole/model.ckpt-{STEPS}", f"{model_dir}/model.ckpt-{STEPS}")


def _kill_after_saving(config: str, model_dir: pathlib.Path, seconds: float) -> None:
    """Starts the run and kills it so long after it has saved something."""
    arguments = ["-m", "hvdrec.train", "--pipeline_config_path", config, "--continue_train"]
    began = time.time()
    with subprocess.Popen(
        command("plain", 1, arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        deadline = time.monotonic() + 120
        while run.poll() is None and not _saved_since(model_dir, began):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(seconds)
        run.send_signal(signal.SIGKILL)
    assert run.returncode in (-signal.SIGKILL, 0)


def _saved_since(model_dir: pathlib.Path, began: float) -> bool:
    state = model_dir / "checkpoint"
    return state.exists() and state.stat().st_mtime > began
