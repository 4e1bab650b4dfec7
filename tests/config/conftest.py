"""Configs for tests: a valid one to start from, and ways to read and check others."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from small_job import SmallJob

from hvdrec.config import Config
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.reader import load

Load = Callable[..., Config]


@pytest.fixture(scope="session")
def example() -> str:
    """The text of a config that is right."""
    return SmallJob(pathlib.Path("rows.csv"), pathlib.Path("run")).text()


@pytest.fixture
def read(tmp_path: pathlib.Path) -> Load:
    """Reads a text as a file named `name`."""

    def read_text(text: str, name: str = "x.config") -> Config:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load(path)

    return read_text


@pytest.fixture
def checked(read: Load) -> Load:
    """Reads, expands and checks; the warnings come in the config."""

    def run(text: str, name: str = "x.config", mode: str = "train") -> Config:
        config = read(text, name)
        expand(config)
        config.warnings += check(config, mode)
        return config

    return run
