"""The log of a running run, without a terminal for a progress bar."""

from __future__ import annotations

import logging
import pathlib
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hvdrec.trainer.loop import Loop
from hvdrec.trainer.run.log import RunLog, logger


class Clock:
    """A clock that is advanced explicitly."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that rank 0 shows."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    logging.Logger.manager._clear_cache()  # type: ignore[attr-defined]
    return lines


def test_a_line_every_half_minute_says_how_far_it_is(
    tmp_path: pathlib.Path, clock: Clock, told: list[str]
) -> None:
    log = RunLog(str(tmp_path), 0, None)
    for step in range(10, 110, 10):
        log.progress(step, 2500.0, 0.5, lambda step=step: 1010 - step)
        clock.now += 10.0
    # One step a second from step 10 on.
    assert told == [
        "step 40 of 1010, 0:16:10 left: loss 0.5000, 2,500 samples/s",
        "step 70 of 1010, 0:15:40 left: loss 0.5000, 2,500 samples/s",
        "step 100 of 1010, 0:15:10 left: loss 0.5000, 2,500 samples/s",
    ]
    log.close()


def test_the_nearer_end_counts_and_an_unknown_one_is_not_guessed(
    tmp_path: pathlib.Path, clock: Clock, told: list[str]
) -> None:
    for total, left in ((60, 1000), (None, None)):
        log = RunLog(str(tmp_path), 0, total)
        log.progress(0, None, 0.5, lambda left=left: left)
        clock.now += 30.0
        log.progress(30, None, 0.25, lambda left=left: left)
        log.close()
    assert told == ["step 30 of 60, 0:00:30 left: loss 0.2500", "step 30: loss 0.2500"]


def test_other_ranks_say_nothing(tmp_path: pathlib.Path, clock: Clock, told: list[str]) -> None:
    log = RunLog(str(tmp_path), 1, 100)
    for step in (1, 50):
        log.progress(step, 1.0, 0.5, lambda: None)
        clock.now += 100.0
    assert told == []
    log.close()


def test_the_rate_is_that_since_the_line_before_without_the_first_call(clock: Clock) -> None:
    """The first call traces the graph, which takes seconds."""
    lines: list[tuple[int, float | None]] = []
    log = SimpleNamespace(
        step_line=lambda step, rate, *rest: lines.append((step, rate)), progress=lambda *rest: None
    )
    optimizer = SimpleNamespace(learning_rate=lambda step: 0.1)
    step = SimpleNamespace(
        loss_names=("total_loss",), optimizer=optimizer, global_step=SimpleNamespace(numpy=lambda: 0)
    )
    parts = SimpleNamespace(step=step, log=log, log_steps=10, summary_steps=0, group=SimpleNamespace(rank=0))
    loop = Loop(parts, None)  # type: ignore[arg-type]
    for first, seconds, rows in (
        (0, 20.0, 100),
        (10, 0.5, 100),
        (20, 0.5, 200),
        (30, 0.01, 300),
        (40, 4.0, 100),
    ):
        clock.now += seconds
        loop._report_steps(first, np.zeros((10, 1), np.float32), rows)
    assert lines == [(0, None), (10, 200.0), (20, 400.0), (30, 400.0), (40, pytest.approx(400 / 4.01))]
