"""Training steps that workers run for the chief of a parameter-server run."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.data.batch import PackedBatch
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.context import MovingUpdate
from hvdrec.parallel.parameter_server import Coordinator
from hvdrec.trainer.step.feed import FeedCall, call_spec
from hvdrec.trainer.step.step import Rows, TrainStep


class StepResult(NamedTuple):
    """The results of one or more steps.

    Attributes:
        done: The number of completed steps; fewer than started if a number in the next one was not finite.
        losses: float32 [steps started, names].
    """

    done: int
    losses: np.ndarray


class ServerStep(abc.ABC):
    """Starts steps and returns their results later.

    Attributes:
        batches: The number of batches per step.
        steps: The maximum number of steps started together.
        ahead: The maximum number of starts before the first completes.
    """

    batches: int
    steps: int
    ahead: int

    @abc.abstractmethod
    def begin(self, batches: Sequence[PackedBatch], number: int) -> Any:
        """Starts steps from `number`; returns the argument for `result`."""

    @abc.abstractmethod
    def result(self, begun: Any) -> StepResult:
        """Waits for these steps; must be called in the order of the starts."""


class AsynchronousStep(ServerStep):
    """Each worker updates the servers with its own batches, independently of the others."""

    def __init__(self, step: TrainStep, coordinator: Coordinator, workers: int, at_once: int) -> None:
        """Sets up the step; nothing is traced before the first step.

        Args:
            step: A step on variables that are stored on the servers.
            coordinator: Runs it on workers.
            workers: The number of workers.
            at_once: Steps that a worker receives at once and runs in sequence: the chief's cost is per call,
                not per step.
        """
        self.batches, self.steps = 1, at_once
        # One running and one waiting call at each worker.
        self.ahead = 2 * workers
        self._step, self._coordinator = step, coordinator
        signature = [call_spec(step.feed.specs), tf.TensorSpec([], tf.int64)]
        self._train = tf.function(self._graph, input_signature=signature, autograph=False)

    def _graph(self, call: FeedCall, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        names = len(self._step.loss_names)
        steps = tf.shape(call.rows)[0]

        def one(k: tf.Tensor, finite: tf.Tensor, report: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            now = number + tf.cast(k, tf.int64)
            rows = Rows(tf.constant(1.0), tf.cast(call.rows[k], tf.float32))
            exchanged = self._step.exchange(self._step.feed.unpack(call, k), rows, now)
            finite = self._step.update(exchanged, now)
            report = tf.tensor_scatter_nd_update(report, [[k]], [exchanged.losses])
            return k + tf.cast(finite, tf.int32), finite, report

        done, _, report = tf.while_loop(
            lambda k, finite, report: tf.logical_and(k < steps, finite),
            one,
            (tf.constant(0), tf.constant(True), tf.zeros([steps, names])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([]), tf.TensorShape([None, names])),
            parallel_iterations=1,
        )
        return done, report

    def begin(self, batches: Sequence[PackedBatch], number: int) -> Any:
        """Trains on the batches, on one worker."""
        call = self._step.feed.stack(batches)
        return self._coordinator.schedule(self._train, call, tf.constant(number, tf.int64))

    def result(self, begun: Any) -> StepResult:
        """Waits for that worker."""
        done, losses = self._coordinator.fetch(begun)
        return StepResult(int(done), np.asarray(losses))


class _Part(NamedTuple):
    """One worker's part of a synchronous step.

    Attributes:
        rows: int32 [U] for each trained bank.
        values: Their gradients, float32 [U, D].
        rest: float32, all other numbers in one tensor, because every tensor costs the chief a message.
    """

    rows: list[np.ndarray]
    values: list[np.ndarray]
    rest: np.ndarray


class SynchronousStep(ServerStep):
    """All workers compute gradients with the same weights; the chief sums them and updates once.

    Every row counts once even if a worker is lost: its part is computed again before it is added.
    """

    def __init__(self, step: TrainStep, coordinator: Coordinator, workers: int) -> None:
        """As `AsynchronousStep`."""
        self.batches, self.steps, self.ahead = workers, 1, 1
        self._step, self._coordinator = step, coordinator
        self._moving: list[MovingUpdate] = []
        scalars = [tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int32)]
        self._gradients = tf.function(
            self._gradients_graph, input_signature=[call_spec(step.feed.specs), *scalars], autograph=False
        )
        self._update = tf.function(self._update_graph, autograph=False, reduce_retracing=True)

    def _gradients_graph(
        self, call: FeedCall, share: tf.Tensor, number: tf.Tensor, worker: tf.Tensor
    ) -> _Part:
        batch = self._step.feed.unpack(call, tf.constant(0))
        touched, dense, losses, run = self._step.gradients(batch, share, number, seed_of=worker)
        self._moving = run.updates
        rest = [*dense, *(share * u.value for u in run.updates), losses]
        flat = tf.concat([tf.reshape(each, [-1]) for each in rest], axis=0)
        return _Part([g.rows for g in touched], [g.values for g in touched], flat)

    def _update_graph(self, part: _Part, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        banks = []
        for rows, values in zip(part.rows, part.values, strict=True):
            banks.append(RowGradient.joined(rows, values))
        variables = self._step.recommender.dense_trainable
        shapes = [*(v.shape for v in variables), *(u.value.shape for u in self._moving)]
        sizes = [*(math.prod(shape) for shape in shapes), len(self._step.loss_names)]
        *rest, losses = tf.split(part.rest, sizes)
        rest = [tf.reshape(each, shape) for each, shape in zip(rest, shapes, strict=True)]
        moving = list(zip(self._moving, rest[len(variables) :], strict=True))
        exchanged = self._step.finish(banks, rest[: len(variables)], losses, moving)
        return self._step.update(exchanged, number), exchanged.losses

    def begin(self, batches: Sequence[PackedBatch], number: int) -> Any:
        """Computes the parts on workers."""
        total = sum(batch.rows for batch in batches)
        begun = []
        for worker, batch in enumerate(batches):
            share = tf.constant(batch.rows / total, tf.float32)
            numbers = tf.constant(number, tf.int64), tf.constant(worker, tf.int32)
            call = self._step.feed.stack([batch])
            begun.append(self._coordinator.schedule(self._gradients, call, share, *numbers))
        return begun, number

    def result(self, begun: Any) -> StepResult:
        """Waits for all parts, sums them and updates."""
        scheduled, number = begun
        parts: list[_Part] = [self._coordinator.fetch(each) for each in scheduled]
        total = _Part(
            [np.concatenate(each) for each in zip(*(p.rows for p in parts), strict=True)],
            [np.concatenate(each) for each in zip(*(p.values for p in parts), strict=True)],
            np.sum([p.rest for p in parts], axis=0),
        )
        tensors = tf.nest.map_structure(tf.convert_to_tensor, total)
        finite, losses = self._update(tensors, tf.constant(number, tf.int64))
        return StepResult(int(bool(finite)), losses.numpy()[None])
