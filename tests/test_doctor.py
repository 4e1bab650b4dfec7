"""The doctor: every missing or broken part is reported in a line with a remedy, never by a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hvdrec import doctor
from hvdrec.errors import UserError
from hvdrec.ops import environment, native
from hvdrec.ops.environment import Finding

ROOT = Path(__file__).resolve().parents[1]

FAKE_TENSORFLOW = """
__version__ = "2.18.1"
load_op_library = print
class test:
    is_built_with_cuda = staticmethod(lambda: {cuda})
class config:
    list_physical_devices = staticmethod(lambda kind: {gpus})
"""
GPU = "[type('Device', (), {'name': 'GPU:0'})()]"
FAKE_HOROVOD = """
mpi_built = lambda: {mpi}
gloo_built = lambda: {gloo}
nccl_built = lambda: {nccl}
"""


def run_doctor(extra_path: Path, **variables: str) -> tuple[int, dict[str, str]]:
    """The exit code and, by name of the check, its mark with the remedy."""
    done = subprocess.run(
        [sys.executable, "-m", "hvdrec.doctor"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{extra_path}{os.pathsep}{ROOT}", **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    report = {}
    for number, line in enumerate(lines):
        if line[:4] in ("ok  ", "warn", "FAIL"):
            following = lines[number + 1].strip()
            what = line[6:].split("  ")[0]
            report[what] = line[:4].strip() + (f" {following}" if following.startswith("->") else "")
    return done.returncode, report


def fake(folder: Path, tensorflow: str | None = None, horovod: str | None = None) -> Path:
    """A folder with modules that hide the real ones."""
    text = {"cuda": False, "gpus": "[]"}
    (folder / "tensorflow.py").write_text(tensorflow or FAKE_TENSORFLOW.format(**text))
    (folder / "horovod").mkdir()
    (folder / "horovod" / "__init__.py").write_text('__version__ = "0.28.1"')
    content = horovod or FAKE_HOROVOD.format(mpi=True, gloo=True, nccl=False)
    (folder / "horovod" / "tensorflow.py").write_text(content)
    return folder


def test_all_is_well_here(tmp_path: Path) -> None:
    code, report = run_doctor(tmp_path)
    assert (code, [what for what, mark in report.items() if mark.startswith("FAIL")]) == (0, [])
    assert {"Python", "TensorFlow", "Horovod", "C++ library", "TensorFlow ops"} <= set(report)
    assert {"Proto modules", "mpirun"} <= set(report)


def test_missing_tensorflow(tmp_path: Path) -> None:
    code, report = run_doctor(fake(tmp_path, tensorflow="raise ImportError('no such thing')"))
    assert code == 1
    assert report["TensorFlow"].startswith("FAIL -> run `make build`")
    assert report["Horovod"] == "ok"


def test_tensorflow_that_kills_its_process(tmp_path: Path) -> None:
    code, report = run_doctor(
        fake(tmp_path, tensorflow="import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
    )
    assert code == 1
    assert report["TensorFlow"].startswith("FAIL")
    assert not report["C++ library"].startswith("FAIL")
    assert report["Horovod"].startswith("FAIL")


def test_output_of_modules_does_not_disturb(tmp_path: Path) -> None:
    noisy = 'print("{")\nprint(1)\nprint([1])\n' + FAKE_TENSORFLOW.format(cuda=False, gpus="[]")
    code, report = run_doctor(fake(tmp_path, tensorflow=noisy))
    assert (code, report["TensorFlow"]) == (0, "ok")


def test_horovod_without_any_controller(tmp_path: Path) -> None:
    horovod = FAKE_HOROVOD.format(mpi=False, gloo=False, nccl=False)
    code, report = run_doctor(fake(tmp_path, horovod=horovod))
    assert code == 1
    assert "make distclean build" in report["Horovod"]


@pytest.mark.parametrize(("nccl", "mark"), [(True, "ok"), (False, "warn -> Horovod has no NCCL")])
def test_gpu_wants_nccl(tmp_path: Path, nccl: bool, mark: str) -> None:
    tensorflow = FAKE_TENSORFLOW.format(cuda=True, gpus=GPU)
    horovod = FAKE_HOROVOD.format(mpi=True, gloo=True, nccl=nccl)
    code, report = run_doctor(fake(tmp_path, tensorflow, horovod))
    assert code == 0
    assert report["GPU"].startswith(mark)


def test_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise environment.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "version", version)
    (finding,) = environment._packages()
    assert finding.fatal
    assert "numpy" in finding.found


def test_package_in_another_version_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.metadata, "version", lambda name: "0.1")
    (finding,) = environment._packages()
    assert "numpy 2.0.2" in finding.remedy
    assert not finding.fatal


def test_no_launcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.fatal for finding in environment._horovodrun()] == [True]
    (finding,) = environment._mpirun()
    assert "--gloo" in finding.remedy
    assert not finding.fatal


def test_mpirun_that_misreads_horovodruns_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mpirun = tmp_path / "mpirun"
    mpirun.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "mpirun (Open MPI) 5.0.11" || exit 66\n')
    mpirun.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (finding,) = environment._mpirun()
    assert finding.found.startswith("Open MPI 5.0.11")
    assert "can't start 2 processes" in finding.remedy


@pytest.mark.parametrize(("free", "warned"), [(64 << 20, True), (1 << 30, False)])
def test_shared_memory(monkeypatch: pytest.MonkeyPatch, free: int, warned: bool) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    (finding,) = environment._shared_memory()
    assert bool(finding.remedy) == warned
    assert not finding.fatal


def test_no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_usage(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(environment.shutil, "disk_usage", disk_usage)
    (finding,) = environment._shared_memory()
    assert "tmpfs" in finding.remedy


def test_protos_not_generated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "hvdrec" / "config" / "protos"
    folder.mkdir(parents=True)
    (folder / "pipeline.proto").write_text("")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    finding = environment._protos({"fields": 1})
    assert finding.fatal
    assert "pipeline" in finding.found


def test_library_older_than_its_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library, source = tmp_path / "_native.so", tmp_path / "csrc" / "kernels" / "hash.cc"
    source.parent.mkdir(parents=True)
    library.write_text("")
    source.write_text("")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    os.utime(source, (1, 1))
    assert environment._library("C++ library", {"file": str(library)}).remedy == ""
    os.utime(library, (0, 0))
    finding = environment._library("C++ library", {"file": str(library)})
    assert "older" in finding.remedy
    assert not finding.fatal


def test_library_of_another_processor() -> None:
    finding = environment._library("C++ library", {"error": "loading it failed: ended by SIGILL"})
    assert "another processor" in finding.remedy


def test_rendering_and_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("A", "1"), Finding("Bee", "2", "do x", needed=False)]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert doctor.main([]) == 0
    findings.append(Finding("C", "3", "do y"))
    assert doctor.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:-1] == ["warn  Bee  2", "           -> do x", "FAIL  C    3", "           -> do y"]


def test_library_not_built_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(native.importlib, "import_module", nothing)
    with pytest.raises(UserError, match=r"not built for this Python .* run `make build`"):
        native.load_native()


def test_library_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("undefined symbol: x")

    monkeypatch.setattr(native.importlib, "import_module", broken)
    with pytest.raises(UserError, match="undefined symbol: x"):
        native.load_native()


def test_other_import_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(name: str) -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(native.importlib, "import_module", other)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        native.load_native()
