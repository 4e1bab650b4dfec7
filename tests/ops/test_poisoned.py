"""Ops in memory that is NaN until something is written to it: no result may depend on what memory contained."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Empty and odd shapes, compared with formulas.
TESTS = [
    "test_empty.py",
    "test_attention.py",
    "test_pair_products.py",
    "test_lookup_op.py",
    "test_lookup_sums.py",
]
#: Whether the library has an effect.
CHECK = "import numpy as np; assert all(np.isnan(np.empty(n)).all() for n in (500, 5_000_000))"


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ isn't installed")
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be wrapped like this"
)
def test_results_are_right_in_poisoned_memory(tmp_path: Path) -> None:
    library = tmp_path / "poison.so"
    subprocess.run(["g++", "-O2", "-shared", "-fPIC", HERE / "poison.cc", "-o", library], check=True)
    poisoned = os.environ | {"LD_PRELOAD": str(library)}
    subprocess.run([sys.executable, "-c", CHECK], env=poisoned, check=True)
    # "threads" start processes of their own.
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "not threads"]
    paths = [str(HERE / name) for name in TESTS]
    done = subprocess.run(
        [*command, *paths], env=poisoned, cwd=HERE.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
