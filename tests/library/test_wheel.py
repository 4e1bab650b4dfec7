"""A wheel of what is built, installed into a fresh environment: the library's tiers, the commands, the types.

The environment sees this one's packages through a path, but none of this folder: what the wheel lacks is missing there.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata

import pytest

import hvdrec
from hvdrec.ops.kernels import built

ROOT = pathlib.Path(hvdrec.__file__).resolve().parents[1]
PACKAGES = pathlib.Path(sysconfig.get_paths()["purelib"])


def run(
    *command: object, cwd: pathlib.Path, check: bool = True, **more: str
) -> subprocess.CompletedProcess[str]:
    unset = ("PYTHONPATH", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert not check or done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The wheel of a copy of the project with only the files that build it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "hvdrec"
    ignored = shutil.ignore_patterns("__pycache__")
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in", "CMakeLists.txt", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("hvdrec", "csrc"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    run(sys.executable, "setup.py", "-q", "bdist_wheel", "-d", folder, cwd=copy, HVDREC_PREBUILT="1")
    (found,) = folder.glob("*.whl")
    return found


def environment(folder: pathlib.Path, wheel: pathlib.Path, sees: pathlib.Path) -> pathlib.Path:
    """The Python of a fresh environment with the wheel, and the packages of a folder."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-index", "--no-deps", wheel, cwd=folder)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "others.pth").write_text(f"{sees}\n")
    return python


@pytest.fixture(scope="module")
def fresh(wheel: pathlib.Path) -> pathlib.Path:
    return environment(wheel.parent / "fresh", wheel, PACKAGES)


TIERS = {
    "losses": "hvdrec.losses.pairwise_logistic([1, 0], [[1.0], [0.0]]).numpy()",
    "keras": "hvdrec.keras.PairwiseLogisticLoss()([[1], [0]], [[1.0], [0.0]]).numpy()",
    "numpy": "hvdrec.numpy.pairwise_logistic([1, 0], [1.0, 0.0]).value",
}


@pytest.mark.parametrize("tier", TIERS)
def test_two_lines_of_each_tier(fresh: pathlib.Path, tier: str) -> None:
    code = f"import hvdrec\nprint(hvdrec.__file__, round(float({TIERS[tier]}), 6))"
    file, value = run(fresh, "-c", code, cwd=fresh.parent).stdout.split()
    assert file.startswith(str(fresh.parents[1]))
    assert value == "0.313262"


def test_numpy_tier_with_numpy_alone(wheel: pathlib.Path) -> None:
    alone = wheel.parent / "alone"
    alone.mkdir()
    for name in ("numpy", "numpy.libs"):
        (alone / name).symlink_to(PACKAGES / name)
    python = environment(wheel.parent / "bare", wheel, alone)
    code = f"import hvdrec\nprint(round({TIERS['numpy']}, 6))"
    assert run(python, "-c", code, cwd=alone).stdout == "0.313262\n"
    refused = run(python, "-c", "import hvdrec\nhvdrec.losses.ranknet", cwd=alone, check=False)
    assert "No module named 'tensorflow'" in refused.stderr.splitlines()[-1]


def test_commands(fresh: pathlib.Path) -> None:
    command = fresh.with_name("hvdrec")
    assert run(command, "--version", cwd=fresh.parent).stdout == f"hvdrec {hvdrec.__version__}\n"
    listed = run(command, "--help", cwd=fresh.parent).stdout
    for name in ("train", "eval", "predict", "export", "launch", "doctor"):
        assert f"\n  {name} " in listed
        assert importlib.util.find_spec(f"hvdrec.{name}")
    wrong = run(command, "trian", cwd=fresh.parent, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("hvdrec: error: trian: unknown command\nusage: hvdrec COMMAND ...")
    missing = run(command, "train", "--pipeline_config_path", "none.config", cwd=fresh.parent, check=False)
    assert missing.returncode == 2
    assert missing.stderr.startswith("hvdrec: error: none.config")
    module = run(fresh, "-m", "hvdrec", "eval", "--model_dir", "none", cwd=fresh.parent, check=False)
    assert module.returncode == 2


def test_what_the_wheel_holds_and_asks_for(wheel: pathlib.Path, fresh: pathlib.Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"hvdrec/py.typed", "hvdrec/_ops.so", "hvdrec/config/protos/pipeline_pb2.pyi"} <= set(names)
    assert {f"hvdrec/_kernels.{kind}.so" for kind in built()} <= set(names)
    assert not [n for n in names if n.startswith(("tests/", "bench/", "csrc/", "docs/"))]
    site = next((fresh.parents[1]).glob("lib/python3*/site-packages"))
    (found,) = metadata.distributions(name="hvdrec", path=[str(site)])
    required = [r for r in found.requires or [] if "extra ==" not in r]
    assert {re.split("[<>=]", r)[0] for r in required} == {"numpy", "protobuf", "pyarrow", "rich"}
    extras = found.metadata.get_all("Provides-Extra") or []
    assert {"cpu", "gpu", "keras", "horovod", "oss", "odps", "bench"} <= set(extras)
    assert not [r for r in found.requires or [] if "mpi4py" in r]


def test_type_checkers_see_the_types(fresh: pathlib.Path) -> None:
    code = fresh.parents[1] / "user.py"
    code.write_text(
        "import hvdrec\nvalue, gradient = hvdrec.numpy.ranknet([1, 0], [1.0, 2.0])\nreveal_type(value)\n"
        "hvdrec.losses.ranknet([1, 0], [1.0, 2.0], temprature=2.0)\n"
    )
    checked = run(
        *(sys.executable, "-m", "mypy", "--python-executable", fresh, "--ignore-missing-imports"),
        *("--cache-dir", fresh.parents[1] / "cache", code),
        cwd=fresh.parents[1],
        check=False,
    )
    assert re.search(r'Revealed type is "(builtins\.)?float"', checked.stdout), checked.stdout
    assert 'Unexpected keyword argument "temprature" for "ranknet"' in checked.stdout


def test_a_wheel_of_nothing_built_is_refused(tmp_path: pathlib.Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "csrc/tensorflow").mkdir(parents=True)
    (tmp_path / "hvdrec").mkdir()
    done = run(sys.executable, "setup.py", "-q", "build_ext", cwd=tmp_path, check=False, HVDREC_PREBUILT="1")
    assert done.returncode == 1
    assert "is not built: make build" in done.stderr.splitlines()[-1]
