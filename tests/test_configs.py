"""The examples in configs/: they load, pass the check, build, and describe how they are run."""

from __future__ import annotations

import itertools
import pathlib
import re

import pytest

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.config"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


HEADED = [name for name in CONFIGS if (ROOT / "configs" / name).read_text().startswith("#")]


@pytest.mark.parametrize("name", HEADED)
def test_the_head_says_how_it_is_run_and_what_came_out(name: str) -> None:
    lines = (ROOT / "configs" / name).read_text().splitlines()
    head = "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
    given = "make train  " if name == "deepfm_adult.config" else f"configs/{name}"
    assert re.search(rf"^#   (make|\.venv/bin/).*{re.escape(given)}|^#   {given}", head, re.M)
    assert re.search(r"seconds|minute", head)
    assert re.search(r"0\.\d{2}", head)


def test_plain_make_train_runs_the_first_example() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^CONFIG +\?= configs/deepfm_adult\.config$", makefile, re.M)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_loads_checks_builds_and_reads_a_batch(name: str, tmp_path: pathlib.Path) -> None:
    config = load(f"configs/{name}")
    assert config.proto.model_dir == f"runs/{name.removesuffix('.config')}"
    for path in (config.proto.train_input_path, config.proto.eval_input_path):
        if not (ROOT / path).is_file():
            pytest.skip(f"{path} is not here: this data set is not part of the project")
    assert check(config) == []
    config.proto.model_dir = str(tmp_path)
    job = Job(config, SingleReplica())
    with open_batches(config.proto, job.plan, SingleReplica(), False) as batches:
        assert next(iter(batches)).rows > 0
