"""Kernels for several kinds of processors: which are loaded, and that all compute the same."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hvdrec.errors import UserError
from hvdrec.ops import kernels
from hvdrec.ops.kernels import built, choose, needs, processor_features

ROOT = Path(__file__).resolve().parents[2]
V2, V3, V4, AMX = "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4-amx"
OF_V2 = {"sse4_2", "popcnt"}
OF_V3 = OF_V2 | {"avx2", "fma"}
OF_V4 = OF_V3 | {"avx512f", "avx512bw"}
OF_AMX = OF_V4 | {"amx_tile", "amx_bf16"}
ALL = {V2: OF_V2, V3: OF_V3, V4: OF_V4}
HERE = OF_V4 | {"gfni"}
RUNNABLE = [kind for kind in built() if needs(kind) <= processor_features()]


@pytest.mark.parametrize(
    ("kinds", "features", "wanted", "chosen"),
    [
        (ALL, OF_V4, "", V4),
        (ALL, OF_V3, "", V3),
        (ALL, OF_V2, "", V2),
        (ALL, OF_V3 | {"avx512f"}, "", V3),
        ({V2: OF_V2, V4: OF_V4}, OF_V3, "", V2),
        (ALL, OF_V4, V2, V2),
        ({"native": HERE, **ALL}, HERE, "", "native"),
        ({**ALL, "native": HERE}, OF_V4, "", V4),
        ({**ALL, AMX: OF_AMX}, OF_AMX, "", AMX),
        ({**ALL, AMX: OF_AMX}, OF_AMX, V4, V4),
        ({**ALL, AMX: OF_AMX}, OF_V4 | {"amx_tile"}, "", V4),
        ({"baseline": set()}, set(), "", "baseline"),
    ],
)
def test_the_best_that_the_processor_runs(
    kinds: dict[str, set[str]], features: set[str], wanted: str, chosen: str
) -> None:
    assert choose(kinds, features, wanted) == chosen


@pytest.mark.parametrize(
    ("kinds", "features", "wanted", "message"),
    [
        ({}, OF_V3, "", "the C++ kernels are not built: run `make build`"),
        (ALL, OF_V3, V4, "HVDREC_ISA is 'x86-64-v4', but this processor lacks avx512bw, avx512f"),
        (ALL, OF_V3, "avx2", "HVDREC_ISA is 'avx2': must be one of those built, x86-64-v2, x86-64-v3, x86"),
        ({V3: OF_V3}, OF_V4, V2, "HVDREC_ISA is 'x86-64-v2': must be one of those built, x86-64-v3"),
        ({V3: OF_V3, V4: OF_V4}, OF_V3 - {"fma"}, "", "built for x86-64-v3, x86-64-v4, but this processor "),
        ({V4: OF_V4, V3: OF_V3}, OF_V3 - {"fma"}, "", "lacks fma: rebuild hvdrec on this machine"),
        ({"native": HERE}, OF_V4, "", "are built for native, but this processor "),
    ],
)
def test_what_the_processor_lacks_is_named(
    kinds: dict[str, set[str]], features: set[str], wanted: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        choose(kinds, features, wanted)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="features are those of x86-64")
def test_libraries_state_what_they_need() -> None:
    wanted = {V2: {"sse4_2", "cx16"}, V3: {"avx2", "fma", "bmi1", "abm"}, V4: {"avx512f", "avx512vl"}}
    wanted[AMX] = wanted[V4] | {"amx_tile", "amx_bf16"}
    for kind, lacking in ((V2, "avx"), (V3, "avx512f"), (V4, "amx_tile"), (AMX, "avx512_vnni")):
        if kind in built():
            assert wanted[kind] <= needs(kind)
            assert lacking not in needs(kind)
    assert RUNNABLE


def test_names_of_kinds_may_have_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of aarch64."""
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    for kind in ("armv8.2-a+crypto", V3):
        (tmp_path / f"_kernels.{kind}.so").touch()
    assert built() == ["armv8.2-a+crypto", V3]


def test_kernels_of_another_build_are_refused(tmp_path: Path) -> None:
    """Whose classes may have other members; without this, they would be read as if they hadn't."""
    for path in ("__init__.py", "errors.py", "ops/__init__.py", "ops/kernels.py", "ops/native.py"):
        (tmp_path / "hvdrec" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "hvdrec" / path, tmp_path / "hvdrec" / path)
    for path in (*(ROOT / "hvdrec").glob("_kernels.*.so"), *(ROOT / "hvdrec").glob("_native*.so")):
        shutil.copy(path, tmp_path / "hvdrec")
    code = "from hvdrec.ops.native import load_native; print(load_native().RowMap)"

    def load() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    assert "RowMap" in load().stdout
    interfaces = {
        path: set(re.findall(rb"interface_[0-9a-f]{16}", path.read_bytes()))
        for path in (*(ROOT / "hvdrec").glob("_*.so"),)
    }
    assert len(interfaces) >= 3
    (name,) = set.union(*interfaces.values())
    assert all(found == {name} for found in interfaces.values())
    for path in (tmp_path / "hvdrec").glob("_kernels.*.so"):
        path.write_bytes(path.read_bytes().replace(name, b"interface_" + b"0" * 16))
    failed = load().stderr.splitlines()[-1]
    assert "UserError: the C++ library hvdrec._native can't be loaded" in failed
    assert "run `make clean build`" in failed


def test_features_are_those_of_the_first_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CPUINFO", tmp_path / "cpuinfo")
    assert processor_features() == set()
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    assert processor_features() == {"fpu", "avx2"}


@pytest.mark.parametrize("march", ["x86-64-v2", "x86-64-v4", "sapphirerapids", "bdver2", "knm"])
def test_needs_name_the_features_that_the_compiler_uses(march: str, tmp_path: Path) -> None:
    """Those of vectors and bits; others, such as those for keys of encryption, it uses only on request."""
    source = tmp_path / "needs.cc"
    source.write_text('#include "kernels/base/needs.h"\n')

    def preprocess(*options: str) -> str:
        command = ["g++", f"-march={march}", f"-I{ROOT / 'csrc'}", *options, "-E", str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"g++ has no -march={march}")
        return done.stdout

    macros = {m.lower() for m in re.findall(r"#define __([A-Z0-9_]+?)__ 1\n", preprocess("-dM"))}
    found = set(re.findall(r'" (\w+)"', preprocess()))
    of_linux = {"bmi": "bmi1", "lzcnt": "abm", "sse3": "pni", "lahf_sahf": "lahf_lm"}
    # Linux puts a line between AVX512 and the names of later parts.
    plain = {name.replace("_", "") for name in found}
    vectors = {
        m for m in macros if re.match(r"avx|s?sse[34]|fma|f16c|bmi|lzcnt|popcnt|movbe|xop|tbm|gfni|lahf", m)
    }
    missing = {m for m in vectors if of_linux.get(m, m).replace("_", "") not in plain}
    assert vectors
    assert not missing


@pytest.mark.skipif(AMX not in RUNNABLE, reason="no kernels for AMX, or a processor without it")
@pytest.mark.parametrize("permits", [True, False])
def test_amx_is_used_where_linux_permits_it(permits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HVDREC_ISA", raising=False)
    if not permits:
        if len(RUNNABLE) == 1:
            pytest.skip("only kernels for AMX are built")
        monkeypatch.setattr(kernels, "_linux_permits_amx", lambda: False)
    kernels.load_kernels.cache_clear()
    try:
        kind = kernels.load_kernels()
    finally:
        kernels.load_kernels.cache_clear()
    assert ("amx_tile" in needs(kind)) is permits


def run(tmp_path: Path, kind: str, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **os.environ,
            "HVDREC_ISA": kind,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_an_unknown_kind_is_one_line(tmp_path: Path) -> None:
    code = "import hvdrec\nhvdrec.numpy.ranknet([1, 0], [1.0, 2.0])"
    done = run(tmp_path, "avx2", "-c", code)
    assert "UserError: HVDREC_ISA is 'avx2': must be one of those built" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(
    len(RUNNABLE) < 2, reason="one kind is built: HVDREC_CMAKE_ARGS=-DHVDREC_MARCH=all make build"
)
def test_all_kinds_compute_the_same(tmp_path: Path) -> None:
    found = {}
    for kind in RUNNABLE:
        program = ["tests/multirank/script.py", "tests/ops/kinds_worker.py"]
        done = run(tmp_path, kind, *program, str(tmp_path / f"{kind}.npz"))
        assert done.returncode == 0, done.stderr[-3000:]
        found[kind] = dict(np.load(tmp_path / f"{kind}.npz"))
    expected = found.pop(RUNNABLE[0])
    assert {name.split("/")[0] for name in expected} == {"bits", "close"}
    for kind, arrays in found.items():
        assert arrays.keys() == expected.keys()
        for name, array in arrays.items():
            if name.startswith("bits/"):
                np.testing.assert_array_equal(array, expected[name], err_msg=f"{kind}: {name}")
                continue
            # The bounds of docs/install.md, relative to the largest number in the array.
            scale = np.abs(expected[name]).max()
            tolerance = 1e-5 if array.dtype == np.float32 or "float32" in name else 1e-13
            difference = np.abs(array.astype(np.float64) - expected[name]).max() / scale
            assert difference < tolerance, f"{kind}: {name} {difference}"
