"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import pathlib
from collections.abc import Iterator

import pytest

from hvdrec.commands.tensorflow_import import quicken_tensorflow_import
from hvdrec.config import user_code

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
quicken_tensorflow_import()
# Building graphs makes many objects and little garbage; by default, a twelfth of the tests' time is collections.
gc.set_threshold(50_000, 10, 5)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the lengths of the fault-injection tests (`make soak`), and which sample configs are trained."""
    parser.addoption("--kills", type=int, default=60, help="how often saves are killed")
    parser.addoption(
        "--samples", default="", help="which of EasyRec's samples to train: names, class:NAMES, or all"
    )
    parser.addoption("--stops", type=int, default=1, help="how often each launcher is stopped by each signal")
    parser.addoption("--damaged", type=int, default=40, help="how many damaged files of each kind are read")
    parser.addoption("--losses", type=int, default=0, help="how often ranks of one elastic run are killed")


@pytest.fixture
def user_code_allowed() -> Iterator[None]:
    """The flag `--allow_user_code` is given."""
    user_code.allow(True)
    yield
    user_code.allow(False)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder with golden files and real data, next to the project; skips if it is missing."""
    path = pathlib.Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("../shared is not here: golden files and data sets are not part of the project")
    return path
