"""Trains a job with real signals sent to this process at given steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.config import load
from hvdrec.data.batch import PackedBatch
from hvdrec.errors import StoppedError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.job import Job
from hvdrec.trainer.loop import Loop
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.signals import StopSignals


class Trace:
    """Sends a signal when a step is reached, and notes the labels of the rows trained on."""

    def __init__(self, step: int | None = None, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number
        self.labels: list[int] = []

    def __enter__(self) -> Trace:
        self._call, self._take = Loop._call, Loop._take
        taken: list[PackedBatch] = []

        def take(loop: Loop, count: int):
            found = self._take(loop, count)
            taken[:] = found[0]
            return found

        def call(loop: Loop, count: int):
            if self.step is not None and loop.now >= self.step:
                self.step = None
                os.kill(os.getpid(), self.number)
                while not loop.parts.signals.received:
                    pass
            taken.clear()
            done, flags = self._call(loop, count)
            self.labels.extend(int(v) for b in taken[:done] for v in b.arrays["label/label"])
            return done, flags

        Loop._call, Loop._take = call, take
        return self

    def __exit__(self, *error: object) -> None:
        Loop._call, Loop._take = self._call, self._take


def train(
    config: str,
    group: ReplicaGroup,
    stops: Sequence[tuple[int, int, int]] = (),
    options: RunOptions | None = None,
    resume: bool = True,
    begun: bool = False,
) -> tuple[list[int], list[int]]:
    """Trains to the end, stopped and resumed at each of `stops` (step, rank, signal).

    Args:
        config: Path of the config.
        group: The ranks.
        stops: Where.
        options: Flags.
        resume: Whether to go on after the last of them.
        begun: Whether to begin from a checkpoint.

    Returns:
        The labels of the rows this rank trained on, and the exit codes of the stopped runs.
    """
    labels, codes = [], []
    for i, (step, rank, number) in enumerate([*stops, *([(0, -1, 0)] if resume else [])]):
        signals = StopSignals()
        given = options or RunOptions()
        chosen = RunOptions(
            fit_on_eval=given.fit_on_eval, fit_on_eval_steps=given.fit_on_eval_steps, signals=signals
        )
        with signals.watching(), Trace(step if rank == group.rank else None, number) as trace:
            try:
                Job(load(config), group).train(begun or i > 0, 0, chosen)
            except StoppedError as stopped:
                codes.append(stopped.exit_code)
        labels.extend(trace.labels)
    return labels, codes


def tensors(prefix: str) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def assert_same_bits(one: str, other: str) -> None:
    """Compares two checkpoints."""
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    different = [n for n, v in first.items() if v.tobytes() != second[n].tobytes()]
    assert not different, f"{len(different)} of {len(first)} differ: {different[:5]}"
