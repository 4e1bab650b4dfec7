"""The library's pages: examples of docstrings, the site, the notebook, the benchmarks, the table of variables."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import hvdrec

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = (
    "hvdrec.losses.functional.pairwise",
    "hvdrec.losses.functional.embeddings",
    "hvdrec.losses.functional.lists",
    "hvdrec.numpy.pairwise",
    "hvdrec.numpy.embeddings",
    "hvdrec.numpy.lists",
    "hvdrec.keras.pairwise_losses",
    "hvdrec.keras.embedding_losses",
    "hvdrec.keras.list_losses",
    "hvdrec.keras.metrics",
    "hvdrec.keras.targets",
)


def python(*arguments: str, timeout: float = 500, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_every_function_has_an_example_and_its_arguments_described() -> None:
    for name in hvdrec.losses.__all__:
        function = getattr(hvdrec.losses, name)
        text = inspect.getdoc(function) or ""
        assert ">>> " in text, name
        assert "References:" in text, name
        assert re.search(r"\bO\(B", text), f"{name}: neither time nor memory"
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"^ +{argument}: ", text, re.M), f"{name}: {argument}"


def test_the_same_on_arrays_and_for_keras_has_an_example_and_names_the_function() -> None:
    for library, results in (
        (hvdrec.numpy, {"ValueAndGradient", "SoftmaxLoss"}),
        (hvdrec.keras, {"session_in_last_column"}),
    ):
        for name in set(library.__all__) - results:
            text = inspect.getdoc(getattr(library, name)) or ""
            assert ">>> " in text, name
            if not name.endswith("AUC"):
                assert re.match(r"`hvdrec\.losses\.\w+` ", text), name


def test_everything_public_is_on_a_page() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)", pages, re.M))
    homes = {getattr(hvdrec.losses, n).__module__ for n in hvdrec.losses.__all__}
    homes |= {getattr(hvdrec.keras, n).__module__ for n in hvdrec.keras.__all__}
    homes |= {getattr(hvdrec.numpy, n).__module__ for n in hvdrec.numpy.__all__}
    assert homes == listed
    library = (ROOT / "docs/library.md").read_text()
    assert [n for n in hvdrec.losses.__all__ if f"`{n}`" not in library] == []


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_site_without_broken_links(tmp_path: pathlib.Path) -> None:
    done = python("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "api/losses.html").read_text()
    for name in hvdrec.losses.__all__:
        assert (
            f'id="hvdrec.losses.functional.{getattr(hvdrec.losses, name).__module__.split(".")[-1]}.{name}"'
            in page
        )
    assert "fonts.googleapis.com" not in page


def test_variables_are_all_on_their_page() -> None:
    named: set[str] = set()
    for path in [*(ROOT / "hvdrec").rglob("*.py"), ROOT / "setup.py", ROOT / "tests/storage/test_hdfs.py"]:
        if not path.name.endswith("_pb2.py"):
            strings = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
            named |= {s for s in strings if isinstance(s, str) and re.fullmatch(r"HVDREC_[A-Z_]+", s)}
    page = (ROOT / "docs/environment.md").read_text()
    assert set(re.findall(r"^\| `(HVDREC_\w+)` \|", page, re.M)) == named


def test_notebook_runs_and_shows_what_it_made() -> None:
    path = ROOT / "docs/notebooks/pairwise_auc.ipynb"
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    pictures = [o for cell in cells for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    done = python("build_support/notebook.py", str(path), NOTEBOOK_QUICK="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"all pairs +best test AUC 0\.[89]", done.stdout)


def test_benchmarks_run(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "found.json"
    sizes = ("--rows", "64", "--embedding-rows", "64", "--dims", "8", "--loss-threads", "1", "--rounds", "2")
    chosen = ("--losses", "logistic,circle", "--by", "op,function,libauc", f"--benchmark-json={out}")
    done = python("-m", "pytest", "bench/losses", *sizes, *chosen, "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-3000:]
    found = json.loads(out.read_text())["benchmarks"]
    by = {(b["extra_info"]["loss"], b["extra_info"]["by"], b["extra_info"]["backward"]) for b in found}
    assert {
        (loss, name, b)
        for loss in ("logistic", "circle")
        for name in ("op", "function")
        for b in (True, False)
    } <= by
    for benchmark in found:
        assert 0 < benchmark["stats"]["min"] < 10
        assert benchmark["extra_info"]["peak_megabytes"] >= 0
