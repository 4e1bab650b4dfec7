"""The Makefile, its set-up script, the lock file, the CMake build and the data that ships."""

from __future__ import annotations

import ast
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9_.-]+)==([A-Za-z0-9.]+)(; python_version (>=|<) \"3\.11\")?")
#: Modules whose package has another name.
PACKAGE_OF = {
    "tensorflow": "tensorflow-cpu",
    "google": "protobuf",
    "odps": "pyodps",
    "yaml": "pyyaml",
    "setuptools": "setuptools",
}


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # Under `make test` the outer make's flags must not reach an inner one.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GPU")
    }
    return subprocess.run(
        command, cwd=cwd, env={**inherited, **variables}, capture_output=True, text=True, timeout=120
    )


def pins() -> list[re.Match[str]]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    matches = [(line, PIN.fullmatch(line)) for line in lines if line and not line.startswith("#")]
    assert [line for line, match in matches if match is None] == []
    return [match for _, match in matches if match]


def test_lock_pins_each_package_once_per_python() -> None:
    names = [(match[1].lower().replace("_", "-"), match[4]) for match in pins()]
    assert len(set(names)) == len(names)
    for name, sign in names:
        if sign is None:
            assert (name, "<") not in names
            assert (name, ">=") not in names


def test_lock_holds_all_that_is_imported() -> None:
    locked = {match[1].lower() for match in pins()}
    imported = set()
    for path in [*(ROOT / "hvdrec").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        if path.name.endswith("_pb2.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    ours = [*(ROOT / "tests").rglob("*"), *(ROOT / "bench").glob("*.py"), *(ROOT / "examples").glob("*.py")]
    local = {path.stem for path in ours if path.is_dir() or path.suffix == ".py"}
    imported -= set(sys.stdlib_module_names) | local | {"hvdrec", "tests", "bench", "setup"}
    assert {
        name for name in imported if PACKAGE_OF.get(name, name).lower().replace("_", "-") not in locked
    } == set()


def test_script_and_project_agree_on_pythons() -> None:
    script = (ROOT / "build_support" / "environment.sh").read_text()
    oldest, newest = re.findall(r"readonly oldest=(\d+) newest=(\d+)", script)[0]
    assert f'">=3.{oldest},<3.{int(newest) + 1}"' in (ROOT / "pyproject.toml").read_text()


def find_cmake() -> str:
    beside_python = Path(sys.executable).parent / "cmake"
    return str(beside_python) if beside_python.exists() else "cmake"


def make_tree(tmp_path: Path) -> Path:
    """A tree that make takes for a finished build."""
    tree = tmp_path / "tree"
    for folder in ("csrc/kernels", "hvdrec/config/protos", ".venv/stamps", "build_support"):
        (tree / folder).mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "setup.py", "CMakeLists.txt"):
        shutil.copy(ROOT / name, tree)
    for name in ("environment.sh", "hvdrec_site.py"):
        shutil.copy(ROOT / "build_support" / name, tree / "build_support")
    (tree / "csrc/kernels/hash.cc").touch()
    (tree / "hvdrec/config/protos/dnn.proto").touch()
    (tree / "hvdrec/config/protos/dnn_pb2.py").touch()
    (tree / "hvdrec/_native.so").touch()
    (tree / "hvdrec/_ops.so").touch()
    (tree / "hvdrec/_kernels.x86-64-v3.so").touch()
    for path in tree.rglob("*"):
        os.utime(path, (1000, 1000))
    for age, stamp in enumerate(("python", "packages", "horovod", "protos", "native")):
        path = tree / ".venv/stamps" / stamp
        path.write_text(f"{tree}\n" if stamp == "python" else "")
        os.utime(path, (2000 + age, 2000 + age))
    return tree


def steps(tree: Path) -> list[str]:
    """The names of the steps that `make build` would take."""
    done = run(["make", "-n", "build"], tree)
    assert done.returncode == 0, done.stderr
    return re.findall(r"(?:touch|>) \.venv/stamps/(\w+)", done.stdout)


def test_second_build_has_nothing_to_do(tmp_path: Path) -> None:
    assert steps(make_tree(tmp_path)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("csrc/kernels/hash.cc", ["native"]),
        ("hvdrec/config/protos/dnn.proto", ["protos"]),
        ("setup.py", ["protos", "native"]),
        ("requirements.lock", ["packages", "horovod", "protos", "native"]),
    ],
)
def test_build_repeats_what_a_change_calls_for(tmp_path: Path, changed: str, expected: list[str]) -> None:
    tree = make_tree(tmp_path)
    (tree / changed).touch()
    assert steps(tree) == expected


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ("hvdrec/_native.so", ["native"]),
        ("hvdrec/_ops.so", ["native"]),
        ("hvdrec/_kernels.x86-64-v3.so", ["native"]),
        ("hvdrec/config/protos/dnn_pb2.py", ["protos"]),
    ],
)
def test_build_replaces_what_was_lost(tmp_path: Path, lost: str, expected: list[str]) -> None:
    tree = make_tree(tmp_path)
    (tree / lost).unlink()
    assert steps(tree) == expected


def test_moved_clone_is_built_anew(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    moved = tree.rename(tmp_path / "moved")
    assert steps(moved) == ["python", "packages", "horovod", "protos", "native"]


def test_gpu_has_its_own_environment(tmp_path: Path) -> None:
    done = run(["make", "-n", "GPU=1", "build"], make_tree(tmp_path))
    assert "environment.sh .venv-gpu python" in done.stdout


def test_help_lists_every_command() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[0].split()
    listed = run(["make", "help"], ROOT).stdout
    assert [name for name in phony if name != "FORCE" and f"make {name} " not in listed] == []


def script_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "build_support").mkdir(parents=True)
    for name in ("build_support/environment.sh", "build_support/hvdrec_site.py", "requirements.lock"):
        shutil.copy(ROOT / name, tree / name)
    return tree


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_unsupported_python_is_refused(tmp_path: Path) -> None:
    tree = script_tree(tmp_path)
    python = executable(tmp_path / "python9", "#!/bin/sh\nexit 1\n")
    done = run(["build_support/environment.sh", ".venv", "python"], tree, PYTHON=str(python))
    assert done.returncode == 1
    assert "no Python 3.10 to 3.12 found" in done.stderr
    assert not (tree / ".venv").exists()


def test_missing_compiler_is_named(tmp_path: Path) -> None:
    tree = script_tree(tmp_path)
    done = run(
        ["build_support/environment.sh", ".venv", "python"],
        tree,
        CXX="no-such-compiler",
        PYTHON=sys.executable,
    )
    assert done.returncode == 1
    assert "no C++ compiler" in done.stderr


def test_gpu_without_cuda_is_refused_before_anything_is_downloaded(tmp_path: Path) -> None:
    tree = script_tree(tmp_path)
    variables = {"GPU": "1", "CUDA_HOME": str(tmp_path), "HOROVOD_CUDA_HOME": "", "PYTHON": sys.executable}
    done = run(["build_support/environment.sh", ".venv-gpu", "python"], tree, **variables)
    assert done.returncode == 1
    assert f"no CUDA toolkit in {tmp_path}" in done.stderr
    assert not (tree / ".venv-gpu").exists()


def test_failing_pip_shows_the_end_of_its_log(tmp_path: Path) -> None:
    tree = script_tree(tmp_path)
    executable(tree / ".venv/bin/python", "#!/bin/sh\necho registry unreachable >&2\nexit 1\n")
    (tree / ".venv/stamps").mkdir()
    done = run(["build_support/environment.sh", ".venv", "packages"], tree)
    assert done.returncode == 1
    assert "registry unreachable" in done.stderr
    assert ".venv/setup.log" in done.stderr


@pytest.mark.parametrize(
    ("gpu", "line"), [("0", "tensorflow-cpu==2.18.1"), ("1", "tensorflow[and-cuda]==2.18.1")]
)
def test_requirements_given_to_pip(tmp_path: Path, gpu: str, line: str) -> None:
    tree = script_tree(tmp_path)
    executable(tree / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
    run(["build_support/environment.sh", ".venv", "packages"], tree, GPU=gpu)
    lines = (tree / ".venv/requirements.txt").read_text().splitlines()
    assert line in lines
    assert [line for line in lines if line.startswith(("horovod", "tensorflow-cpu", "tensorflow["))] == [line]


def test_horovod_is_not_compiled_again_for_other_packages(tmp_path: Path) -> None:
    tree = script_tree(tmp_path)
    executable(tree / ".venv/bin/python", "#!/bin/sh\necho compiled >> calls\n")
    (tree / ".venv/stamps").mkdir()
    command = ["build_support/environment.sh", ".venv", "horovod"]
    for lock_change, calls in (("", 2), ("", 2), ("six==9", 2), ("openmpi==9", 4)):
        with (tree / "requirements.lock").open("a") as lock:
            lock.write(f"{lock_change}\n")
        assert run(command, tree).returncode == 0
        assert len((tree / "calls").read_text().splitlines()) == calls


def test_horovodrun_starts_without_asking_what_horovod_was_built_with(tmp_path: Path) -> None:
    program = tmp_path / "horovodrun"
    program.write_text(
        f"""import runpy
runpy.run_path({str(ROOT / "build_support/hvdrec_site.py")!r})
from horovod.common import util
def ask(*_):
    raise SystemExit("asked")
util._check_extension_lambda = ask
from horovod.runner.launch import gloo_built, mpi_built
print(mpi_built(), gloo_built(verbose=True))
"""
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True True\n", done.stderr


def test_site_hook_finds_mpi_without_activation(tmp_path: Path) -> None:
    executable(tmp_path / "bin/mpirun", "")
    show = "print(os.environ.get('OPAL_PREFIX'), os.environ.get('PATH'))"
    code = f"import sys, os; sys.prefix = sys.argv[1]; import hvdrec_site; {show}"
    path = str(ROOT / "build_support")

    def hook(prefix: Path, **variables: str) -> str:
        command = [sys.executable, "-S", "-c", code, str(prefix)]
        done = subprocess.run(command, env={"PYTHONPATH": path, **variables}, capture_output=True, text=True)
        return done.stdout.strip()

    assert hook(tmp_path, PATH="/usr/bin") == f"{tmp_path} {tmp_path}/bin:/usr/bin"
    assert hook(tmp_path, PATH=f"/usr/bin:{tmp_path}/bin") == f"{tmp_path} /usr/bin:{tmp_path}/bin"
    assert hook(tmp_path, PATH="/usr/bin", OPAL_PREFIX="/opt/mpi") == f"/opt/mpi {tmp_path}/bin:/usr/bin"
    assert hook(tmp_path / "none", PATH="/usr/bin") == "None /usr/bin"


def test_cmake_builds_a_module_and_ends_in_one_line_when_it_can_not(tmp_path: Path) -> None:
    for name in ("setup.py", "CMakeLists.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("hvdrec/ops", "csrc/kernels", "csrc/python"):
        (tmp_path / folder).mkdir(parents=True)
    for name in (
        "hvdrec/__init__.py",
        "hvdrec/errors.py",
        "hvdrec/ops/__init__.py",
        "hvdrec/ops/kernels.py",
        "hvdrec/ops/native.py",
        "csrc/kernels/exports.map",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    stale = tmp_path / "hvdrec/_kernels.x86-64-v2.so"
    stale.touch()
    (tmp_path / "csrc/kernels/one.cc").write_text("namespace hvdrec {\nint One() { return 1; }\n}\n")
    source = tmp_path / "csrc/python/module.cc"
    source.write_text(
        "#include <pybind11/pybind11.h>\nnamespace hvdrec {\nint One();\n}\n"
        'PYBIND11_MODULE(_native, m) { m.attr("one") = hvdrec::One(); }\n'
    )
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = run(build, tmp_path, HVDREC_CMAKE_ARGS="-DHVDREC_MARCH=none -DCMAKE_BUILD_TYPE=Debug")
    assert done.returncode == 0, done.stderr
    assert not stale.exists()
    code = (
        "from hvdrec.ops import kernels, native\n"
        "print(native.load_native().one, kernels.load_kernels(), native.load_native().__file__)"
    )
    loaded = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(tmp_path))
    assert loaded.stdout.startswith(f"1 baseline {tmp_path}"), loaded.stderr

    # A wheel has the libraries in hvdrec/, without the kernels of an earlier wheel.
    (earlier,) = (tmp_path / "build").glob("lib*/hvdrec/_kernels.*.so")
    earlier = earlier.rename(earlier.with_name("_kernels.x86-64-v2.so"))
    done = run([sys.executable, "setup.py", "-q", "build_ext"], tmp_path, HVDREC_PREBUILT="1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in earlier.parent.glob("_kernels.*")] == ["_kernels.baseline.so"]

    source.write_text("this is not C++\n")
    now = time.time() + 2
    os.utime(source, (now, now))
    done = run(build, tmp_path)
    assert done.returncode == 1
    assert "csrc did not build" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there are kinds only of x86-64")
def test_what_another_machine_runs_is_not_remembered(tmp_path: Path) -> None:
    """A folder with its build may be used on several."""
    (tmp_path / "Eigen").mkdir()
    (tmp_path / "Eigen/Core").touch()
    configure = [find_cmake(), "-S", str(ROOT), "-B", str(tmp_path / "build"), "-DHVDREC_MODULES=OFF"]
    remembered = [f"-DHVDREC_RUNS_x86-64-v{version}=" for version in (2, 3, 4)]
    done = run([*configure, f"-DHVDREC_EIGEN={tmp_path}", *remembered], tmp_path)
    assert "kernels for x86-64-v" in done.stdout, done.stdout + done.stderr


def test_gpu_check_needs_no_library_at_run_time(tmp_path: Path) -> None:
    """With the modules, kernels are a library that only Python loads under its soname."""
    assert "-DHVDREC_MODULES=OFF" in run(["make", "-n", "gpu_check"], make_tree(tmp_path)).stdout


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_adult_sample(shared: Path) -> None:
    for ours, original in (("train.csv", "adult_train.csv"), ("test.csv", "adult_test.csv")):
        sample = (ROOT / "data/adult" / ours).read_bytes()
        assert (shared / "data/adult" / original).read_bytes().startswith(sample)
        assert sample.endswith(b"\n")


def test_adult_sample_is_small_and_attributed() -> None:
    folder = ROOT / "data" / "adult"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000_000
    readme = (folder / "README.md").read_text()
    for text in (
        "Barry Becker and Ronny Kohavi",
        "CC BY 4.0",
        "creativecommons.org/licenses/by/4.0",
        "10.24432/C5XW20",
    ):
        assert text in readme
    for name, row_count in (("train.csv", 12800), ("test.csv", 6000)):
        lines = (folder / name).read_text().splitlines()
        assert len(lines) == row_count
        assert f"{row_count:,}" in readme
        assert {len(line.split(",")) for line in lines} == {15}
