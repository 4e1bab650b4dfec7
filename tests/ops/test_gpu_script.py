"""bench/gpu/run.sh, as far as a machine without a GPU can test it, with fakes of CUDA's programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdrec.config import load

ROOT = Path(__file__).resolve().parents[2]
#: Name -> what a program of that name does.
PROGRAMS = {
    "nvidia-smi": "echo Some GPU, 1, 2 MiB",
    "nvcc": "echo a; echo Cuda compilation tools, release 13.0; echo b",
    "compute-sanitizer": 'shift 4; "$@" && echo "========= ERROR SUMMARY: 0 errors"',
}


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def case(holds: bool) -> str:
    found = {"case": "circle rows 9 dim 2", "type": "float32", "holds": holds, "loss_error": 1e-8}
    found |= {"gradient_error": 2e-7, "same_bits": True, "gpu_ms": 0.25, "cpu_ms": 3.5}
    return json.dumps(found)


def run(
    tmp_path: Path, holds: bool, left_out: tuple[str, ...] = (), sanitizer: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs the script with a gpu_check of one case."""
    build, programs = tmp_path / "build", tmp_path / "programs"
    build.mkdir()
    programs.mkdir()
    (build / "libgpu_losses.so").touch()
    program(build / "gpu_check", f"echo '{case(holds)}'; exit {0 if holds else 1}")
    for name, text in PROGRAMS.items():
        if name not in left_out:
            program(programs / name, sanitizer if sanitizer and name == "compute-sanitizer" else text)
    environment = {
        **os.environ,
        **{"PATH": f"{programs}:/usr/bin:/bin", "PYTHON": sys.executable, "BUILD": str(build)},
        **{"LOSSES": "0", "JOBS": "0"},
    }
    command = ["bash", str(ROOT / "bench/gpu/run.sh"), str(tmp_path / "results")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_all_holds(tmp_path: Path) -> None:
    done = run(tmp_path, holds=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gpu_check: 1 cases, 0 don't hold" in done.stdout
    assert "circle float32: worst loss error 1.0e-08, gradient 2.0e-07" in done.stdout
    assert done.stdout.count("1 cases hold, 0 don't, 0 findings; ========= ERROR SUMMARY: 0 errors") == 12


def test_a_case_fails(tmp_path: Path) -> None:
    done = run(tmp_path, holds=False)
    assert done.returncode == 1
    assert "gpu_check: 1 cases, 1 don't hold" in done.stdout
    assert "FAILED gpu_check: exit status 1" in done.stdout
    assert "FAILED sanitize: exit status 1" in done.stdout


@pytest.mark.parametrize(
    "sanitizer",
    [
        'shift 4; "$@"; echo "========= Invalid __global__ write of size 4 bytes"; exit 9',
        "echo '========= Error: Target application terminated before first instrumented API call'; exit 1",
        "exit 0",  # without a word: nothing was checked
    ],
)
def test_a_checker_finds_something_or_does_nothing(tmp_path: Path, sanitizer: str) -> None:
    done = run(tmp_path, holds=True, sanitizer=sanitizer)
    assert done.returncode == 1
    assert "FAILED sanitize: exit status 1" in done.stdout
    assert "FAILED gpu_check" not in done.stdout


def test_no_checkers(tmp_path: Path) -> None:
    done = run(tmp_path, holds=True, left_out=("compute-sanitizer",))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no compute-sanitizer: left out" in done.stdout


def test_no_gpu(tmp_path: Path) -> None:
    done = run(tmp_path, holds=True, left_out=("nvidia-smi",))
    assert (done.returncode, done.stdout) == (3, "no GPU\n")


def test_jobs_of_criteo_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    import job

    path = tmp_path / "job.config"
    path.write_text(job.config_text("criteo", tmp_path / "rows", tmp_path / "model", 7))
    proto = load(str(path)).proto
    assert (proto.train_config.num_steps, proto.data_config.batch_size) == (7, job.BATCH)
    assert (proto.train_input_path, proto.model_dir) == (str(tmp_path / "rows"), str(tmp_path / "model"))


def job(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "bench/job.py", "--variants", "np1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_job_without_gpu() -> None:
    """The worker reports it, and doesn't train on another device."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    done = job("--device", "gpu", "--steps", "2")
    assert done.returncode == 1
    assert "--device gpu, and the GPUs that TensorFlow can use: none" in done.stderr


def test_job_on_the_cpu(tmp_path: Path) -> None:
    done = job("--steps", "60", "--out", str(tmp_path / "job.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "job.json").read_text())
    (found,) = result["results"].values()
    assert (result["device"], found["ranks"]) == ("cpu", 1)
    assert found["samples_per_second"] > 0
    assert sum(found["of_which"].values()) == pytest.approx(found["milliseconds_per_step"], rel=0.01)
