"""The CUDA versions of the losses, as far as a machine without a GPU can test them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from hvdrec.ops.pairwise import pairwise

ROOT = Path(__file__).resolve().parents[2]
NVCC = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")


def run(command: list[str]) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done.stdout


@pytest.mark.timeout(900)  # It compiles.
def test_twins_match_the_cpu() -> None:
    assert run(["make", "twins", "ARGS=--short"]).count(" 0 failed") == 2


def test_cpu_sources_include_nothing_of_the_gpu() -> None:
    kernels = ROOT / "csrc/kernels"
    cpu = [
        p
        for p in (*kernels.rglob("*.h"), *kernels.rglob("*.cc"))
        if "gpu" not in p.relative_to(kernels).parts
    ]
    assert len(cpu) > 50
    assert [str(p) for p in cpu if "/gpu/" in p.read_text()] == []


@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
@pytest.mark.parametrize(
    "source",
    [
        *sorted((ROOT / "csrc/kernels").rglob("*.cu")),
        ROOT / "csrc/tests/gpu_check.cu",
        ROOT / "csrc/bench/losses.cu",
    ],
    ids=lambda p: p.stem,
)
def test_compiles(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "kernels.ptx"
    run([NVCC, "-std=c++17", "-arch=compute_80", "-ptx", "-Icsrc", str(source), "-o", str(target)])
    assert ".target sm_80" in target.read_text()


@pytest.mark.parametrize(
    ("asked", "options", "device"),
    [
        ("", {}, "/device:CPU:0"),
        ("native", {}, ""),
        ("native", {"hardest": 0.5}, ""),
        ("", {"limit": 1.0}, "/device:CPU:0"),
    ],
)
def test_placement(
    asked: str, options: dict[str, float], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HVDREC_OPS", asked)

    @tf.function
    def loss(scores: tf.Tensor) -> tf.Tensor:
        return pairwise(scores, scores, "logistic", **options).loss

    graph = loss.get_concrete_function(tf.TensorSpec([None])).graph
    (op,) = [op for op in graph.get_operations() if op.type == "HvdrecPairwise"]
    assert op.device == device
