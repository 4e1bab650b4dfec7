"""`python -m hvdrec.launch`: what it prints and what it starts."""

from __future__ import annotations

import json
import pathlib
import shlex
import subprocess
import sys

from small_job import SmallJob, write_data


def _launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hvdrec.launch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_print_shows_the_command_and_runs_nothing(tmp_path: pathlib.Path) -> None:
    done = _launch("local", "--print", "-np", "2", "--pipeline_config_path", str(tmp_path / "a b.config"))
    assert done.returncode == 0, done.stderr
    words = shlex.split(done.stdout)
    assert words[0].endswith("horovodrun")
    assert words[1:3] == ["-np", "2"]
    assert words[-4:] == ["-m", "hvdrec.train", "--pipeline_config_path", str(tmp_path / "a b.config")]


def test_print_shows_a_command_for_each_role(tmp_path: pathlib.Path) -> None:
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", train_extra="num_gpus_per_worker: 2")
    config = str(job.write(tmp_path / "job.config"))
    done = _launch("ps", "--print", "--workers", "2", "--ps", "1", "--pipeline_config_path", config)
    assert done.returncode == 0, done.stderr
    tasks = []
    for line in done.stdout.splitlines():
        variable, *words = shlex.split(line)
        described = json.loads(variable.removeprefix("TF_CONFIG="))
        assert {role: len(found) for role, found in described["cluster"].items()} == {
            **{"ps": 1, "worker": 4, "chief": 1}
        }
        tasks.append((described["task"]["type"], described["task"]["index"]))
        assert words[1:] == ["-m", "hvdrec.train", "--pipeline_config_path", config]
    assert tasks == [("ps", 0), *(("worker", i) for i in range(4)), ("chief", 0)]


def test_a_form_trains(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 64)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=8, steps=3)
    config = job.write(tmp_path / "job.config")
    done = _launch("pai", f"-Dconfig={config}", '-Dcluster={"worker":{"count":1,"cpu":100}}')
    assert done.returncode == 0, done.stderr
    assert "ignored: worker.cpu=100" in done.stderr
    assert (tmp_path / "model" / "model.ckpt-3.index").exists()


def test_mistakes_end_with_exit_code_2() -> None:
    for arguments in ((), ("emrr",), ("pai", "-Dx=1"), ("local", "-np", "0"), ("emr", "-t", "standalone")):
        done = _launch(*arguments)
        assert done.returncode == 2, arguments
        assert done.stderr.startswith("hvdrec: error: ")
        assert "Traceback" not in done.stderr
