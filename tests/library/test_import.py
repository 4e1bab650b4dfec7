"""What `import hvdrec` loads, in separate processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hvdrec


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def loaded(code: str) -> set[str]:
    """Top-level modules, and those of hvdrec, that are there after the code."""
    names = python(f"import sys\n{code}\nprint(*sys.modules)").split()
    return {name if name.startswith("hvdrec") else name.split(".")[0] for name in names}


def test_import_loads_nothing_heavy_and_takes_milliseconds() -> None:
    assert not loaded("import hvdrec, hvdrec.losses") & {"numpy", "tensorflow", "keras", "horovod", "google"}
    code = (
        "import importlib, typing, time\nt = time.process_time()\nimport hvdrec, hvdrec.losses\n"
        "print(time.process_time() - t)"
    )
    assert min(float(python(code)) for _ in range(3)) < 0.1


def test_numpy_tier_needs_no_tensorflow() -> None:
    modules = loaded("import hvdrec\nhvdrec.numpy.ranknet([1, 0], [1.0, 2.0])")
    assert "numpy" in modules
    assert not modules & {"tensorflow", "keras", "horovod", "google"}


def test_functions_need_no_horovod_and_no_protos() -> None:
    modules = loaded("import hvdrec\nhvdrec.losses.ranknet([1, 0], [1.0, 2.0])")
    assert "tensorflow" in modules
    assert not modules & {"horovod", "mpi4py", "pyarrow", "hvdrec.config"}


def test_trainer_never_imports_keras_tier() -> None:
    assert "hvdrec.keras" not in loaded("import hvdrec.commands.train, hvdrec.commands.train_on_servers")


def test_dir_names_the_library() -> None:
    assert {"keras", "losses", "numpy", "__version__"} <= set(dir(hvdrec))
    with pytest.raises(AttributeError, match="module 'hvdrec' has no attribute 'torch'"):
        hvdrec.torch  # noqa: B018
