"""Which cases `pytest bench/losses` measures."""

from __future__ import annotations

from typing import Any

import pytest

from bench.losses.contenders import CLOCKS, EMBEDDINGS, HAS, LARGEST_MATRIX, LOSSES, OF_MATRICES
from bench.machine import describe
from hvdrec.ops.kernels import load_kernels


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("losses", "bench/losses")
    group.addoption("--rows", default="1024,16384,100000", help="numbers of rows of losses over pairs")
    group.addoption("--embedding-rows", default="1024,4096", help="numbers of rows of losses of embeddings")
    group.addoption("--dims", default="128", help="sizes of an embedding")
    group.addoption("--loss-threads", default="1,2", help="threads of a call")
    group.addoption("--by", default=",".join(HAS), help="implementations")
    group.addoption("--losses", default=",".join(LOSSES), help="losses")
    group.addoption(
        "--clock",
        default="wall",
        choices=list(CLOCKS),
        help="time on the wall, or of the processor, which other programs affect less",
    )
    group.addoption("--rounds", default=20, type=int, help="calls of a case, or what fits into 5 seconds")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Keeps what times depend on, without the machine's name; runs on other hardware are reported as such."""
    hardware = {k: v for k, v in describe()["hardware"].items() if k != "load"}
    python = machine_info["python_version"]
    machine_info.clear()
    machine_info.update(hardware=hardware, kernels=load_kernels(), python_version=python)


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    """Leaves out the name of the branch, which is often gone by the time of a comparison."""
    commit_info.pop("branch", None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.getoption
    if "case" not in metafunc.fixturenames:
        return
    cases = []
    for loss in option("--losses").split(","):
        sizes = option("--embedding-rows" if loss in EMBEDDINGS else "--rows")
        dims = option("--dims").split(",") if loss in EMBEDDINGS else ["1"]
        for rows in map(int, sizes.split(",")):
            for dim in map(int, dims):
                for by in option("--by").split(","):
                    if loss not in HAS[by] or (by in OF_MATRICES and rows > LARGEST_MATRIX):
                        continue
                    for threads in map(int, option("--loss-threads").split(",")):
                        for backward in (False, True):
                            cases.append(
                                {
                                    "loss": loss,
                                    "by": by,
                                    "rows": rows,
                                    "dim": dim,
                                    "threads": threads,
                                    "backward": backward,
                                }
                            )
    metafunc.parametrize("case", cases, ids=_name)


def _name(case: dict) -> str:
    size = f"{case['rows']}x{case['dim']}" if case["loss"] in EMBEDDINGS else f"{case['rows']}"
    passes = "backward" if case["backward"] else "forward"
    return f"{case['loss']}-{size}-{case['threads']}-{passes}-{case['by']}"
