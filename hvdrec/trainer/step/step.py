"""The training step: forward, gradients, exchange, check, update; several steps per call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.layers.banks.strategy import Whole
from hvdrec.layers.context import ForwardContext, MovingUpdate
from hvdrec.losses.base import Replicas
from hvdrec.models.recommender import Batch, ForwardResult, Recommender
from hvdrec.ops.policy import NATIVE
from hvdrec.ops.sum_of_squares import sum_of_squares
from hvdrec.ops.updates import Average, move_averages
from hvdrec.optim.base import Optimizer
from hvdrec.optim.clip import clip_by_global_norm
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.step.feed import Feed, FeedCall, call_spec
from hvdrec.trainer.step.reduce import Reducer

#: Steps done (int32 scalar), whether all numbers were finite, and the losses of each step.
_LoopState: TypeAlias = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


class CallResult(NamedTuple):
    """The result of one call of several steps.

    Attributes:
        steps: Steps done; fewer than requested if every rank ran out or a number was not finite.
        finite: False if a number in the step after the last completed one was not finite.
        flags: float32 [F], the sum of the ranks' flags.
        totals: int32 [K], rows of all ranks in each step.
        report: float32 [K, names], the losses of each step over all ranks; NaN for steps without rows.
    """

    steps: tf.Tensor
    finite: tf.Tensor
    flags: tf.Tensor
    totals: tf.Tensor
    report: tf.Tensor


class Exchanged(NamedTuple):
    """The results of a step before anything is updated.

    Attributes:
        gradients: The gradients of `TrainStep.variables` over all ranks, multiplied and clipped.
        norm: A scalar that is finite if all gradients are.
        losses: float32 [names], over all ranks.
        moving: New values for the moving averages, with their variables.
    """

    gradients: list[Gradient]
    norm: tf.Tensor
    losses: tf.Tensor
    moving: list[tuple[MovingUpdate, tf.Tensor]]


class Rows(NamedTuple):
    """The rows of one step.

    Attributes:
        share: float32 scalar, this rank's share of them; 0 if there are none.
        total: float32 scalar, the number of rows of all ranks.
    """

    share: tf.Tensor
    total: tf.Tensor

    @classmethod
    def of(cls, own: tf.Tensor, total: tf.Tensor) -> Rows:
        """Computes the shares from the numbers of rows on this rank and on all ranks."""
        return cls(tf.math.divide_no_nan(tf.cast(own, tf.float32), total), total)


class TrainStep(tf.Module):
    """Trains a recommender on the batches of all ranks together.

    For every loss that is a mean over rows, a step's gradient is the gradient of the concatenated batch: each
    rank's gradient is weighted by its share of the rows. A rank without rows takes part with weight 0.
    """

    def __init__(
        self,
        recommender: Recommender,
        optimizer: Optimizer,
        group: ReplicaGroup,
        feed: Feed,
        reducer: Reducer,
        global_step: tf.Variable,
        clip_norm: float,
        seed: int,
        embedding_multiplier: float = 1.0,
    ) -> None:
        """Sets up the step; nothing is traced before the first call.

        Args:
            recommender: The model.
            optimizer: The optimizer, with its slots created.
            group: The ranks.
            feed: Unpacks batches.
            reducer: Exchanges gradients.
            global_step: int64 variable, the number of updates done.
            clip_norm: `gradient_clipping_by_norm`; 0 or less for none.
            seed: The seed for dropout and random loss weights.
            embedding_multiplier: `embedding_learning_rate_multiplier`, for the banks' gradients.
        """
        super().__init__()
        self.recommender = recommender
        self.optimizer = optimizer
        self.group = group
        self.feed = feed
        self.reducer = reducer
        self.clip_norm = clip_norm
        self.seed = seed
        self.embedding_multiplier = embedding_multiplier
        self.global_step = global_step
        self.loss_names = self._loss_names()
        self._graph = tf.function(
            self._run,
            input_signature=[call_spec(feed.specs), tf.TensorSpec([None], tf.float32)],
            autograph=False,
        )
        self._traced: Callable[[FeedCall, tf.Tensor], CallResult] | None = None

    def _loss_names(self) -> tuple[str, ...]:
        names = list(self.recommender.loss_names(training=True))
        if self.recommender.store.regularized or self.recommender.embedding_regularization > 0.0:
            names.append("regularization_loss")
        return (*names, "total_loss")

    def run(self, call: FeedCall, flags: np.ndarray) -> CallResult:
        """Runs the steps of one call.

        Args:
            call: This rank's batches.
            flags: float32 [F], summed over the ranks; if the first is set, the call stops before its first
                step.
        """
        if self._traced is None:
            # A call of the traced function takes half as long as a `tf.function`, which compares signatures.
            self._traced = self._graph.get_concrete_function()
        return self._traced(call, tf.convert_to_tensor(flags))

    def _run(self, call: FeedCall, flags: tf.Tensor) -> CallResult:
        rows = call.rows
        steps = tf.shape(rows)[0]
        counts = tf.concat([flags, *(tf.cast(n, tf.float32) for n in (rows, call.present))], axis=0)
        counts = self.group.sum(counts, "rows")
        flags, totals, present = tf.split(counts, [tf.shape(flags)[0], steps, steps])
        shares = Rows.of(rows, totals)
        # With 0 at the end, no loop has to compare its step with the number of steps.
        runs = tf.where(flags[0] > 0.0, 0.0, 1.0)
        left, there = (tf.concat([runs * n, [0.0]], axis=0) for n in (totals, present))

        def one(k: tf.Tensor, finite: tf.Tensor, report: tf.Tensor) -> _LoopState:
            own = Rows(tf.constant(1.0) if self.group.size == 1 else shares.share[k], totals[k])
            finite, losses = self._step(self.feed.unpack(call, k), own)
            report = tf.tensor_scatter_nd_update(report, [[k]], [losses])
            return k + tf.cast(finite, tf.int32), finite, report

        def several(k: tf.Tensor, finite: tf.Tensor, report: tf.Tensor) -> _LoopState:
            """Steps with rows, and one with batches that `ignore_error` left empty on all ranks.

            That is counted, but updates nothing.
            """
            k, finite, report = self._loop(one, left, (k, finite, report))
            empty = tf.logical_and(finite, tf.gather(there, k) > 0.0)
            self.global_step.assign_add(tf.cast(empty, tf.int64))
            return k + tf.cast(empty, tf.int32), finite, report

        report = tf.fill([steps, len(self.loss_names)], math.nan)
        done, finite, report = self._loop(several, there, (tf.constant(0), tf.constant(True), report))
        return CallResult(done, finite, flags, tf.cast(totals, tf.int32), report)

    def _loop(self, body: Callable[..., _LoopState], left: tf.Tensor, state: _LoopState) -> _LoopState:
        """Repeats `body` while `left`, float32 [K + 1], isn't 0 at its step, and all numbers are finite."""
        found: _LoopState = tf.while_loop(
            lambda k, finite, report: tf.logical_and(finite, tf.gather(left, k) > 0.0),
            body,
            state,
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([]),
                tf.TensorShape([None, len(self.loss_names)]),
            ),
            # Collectives must run in the same order on every rank.
            parallel_iterations=1,
        )
        return found

    def _step(self, batch: Batch, rows: Rows) -> tuple[tf.Tensor, tf.Tensor]:
        """One step; returns whether everything was finite (else nothing was updated) and the losses."""
        step = tf.identity(self.global_step)
        exchanged = self.exchange(batch, rows, step)
        return self.update(exchanged, step), exchanged.losses

    def update(self, exchanged: Exchanged, step: tf.Tensor) -> tf.Tensor:
        """Updates all variables, unless a number is not finite; returns whether it did (bool scalar)."""
        gradients, norm, losses, updates = exchanged
        finite = tf.logical_and(tf.math.is_finite(norm), tf.math.is_finite(tf.reduce_sum(losses)))

        self._move_averages(updates, finite)
        self.optimizer.apply_when(finite, self._updates(gradients), step)
        self.global_step.assign_add(tf.cast(finite, tf.int64))
        return finite

    def _move_averages(self, updates: Sequence[tuple[MovingUpdate, tf.Tensor]], when: tf.Tensor) -> None:
        """Updates the moving averages, all in one operation if they are on one device."""
        averages = [Average(moving.variable, value, 1.0 - moving.momentum) for moving, value in updates]
        impl = self.recommender.policy.optimizers
        if impl == NATIVE:
            move_averages(averages, when, impl=impl)
            return
        for average in averages:
            with self.optimizer.placement.at(average.variable):
                move_averages([average], when, impl=impl)

    def _updates(self, gradients: Sequence[Gradient]) -> list[tuple[Gradient, tf.Variable]]:
        """Pairs of variable and gradient."""
        model, banks = self.recommender, len(self.recommender.strategy.trained)
        dense = zip(gradients[banks:], model.dense_trainable, strict=True)
        return [*model.strategy.updates(gradients[:banks]), *dense]

    def exchange(self, batch: Batch, rows: Rows, step: tf.Tensor) -> Exchanged:
        """Gradients and losses of one step over all ranks (collective); nothing is updated.

        Args:
            batch: This rank's rows.
            rows: Their number and share among all ranks' rows.
            step: int64 scalar, the number of updates done before.
        """
        share = rows.share
        touched, dense, losses, run = self.gradients(batch, share, step, self._replicas(rows))
        # A single rank has all rows.
        statistics = [u.value if self.group.size == 1 else share * u.value for u in run.updates]
        banks, dense, statistics = self.reducer(touched, dense, [*statistics, losses])
        losses = statistics.pop()
        return self.finish(banks, dense, losses, list(zip(run.updates, statistics, strict=True)))

    def finish(
        self,
        banks: Sequence[Gradient],
        dense: Sequence[tf.Tensor],
        losses: tf.Tensor,
        moving: list[tuple[MovingUpdate, tf.Tensor]],
    ) -> Exchanged:
        """Processes gradients after they are summed over all rows of a step."""
        if self.embedding_multiplier != 1.0:
            banks = [g * self.embedding_multiplier for g in banks]
        gradients: list[Gradient] = [*banks, *dense]
        parts = [*self.recommender.strategy.norm_parts(banks), *dense]
        if self.clip_norm > 0.0:
            gradients, norm = clip_by_global_norm(gradients, parts, self.clip_norm)
        else:
            norm = sum_of_squares(parts, impl=self.recommender.policy.norms)
        return Exchanged(gradients, norm, losses, moving)

    @property
    def variables(self) -> list[Whole | tf.Variable]:
        """The trained variables: banks, then the rest."""
        model = self.recommender
        return [*(bank.variable for bank in model.strategy.trained), *model.dense_trainable]

    def _replicas(self, rows: Rows) -> Replicas | None:
        if self.group.size == 1:
            return None
        group = self.group

        def exchange(value: tf.Tensor, counts: tf.Tensor, name: str) -> tf.Tensor:
            return group.exchange(value, counts, name)[0]

        return Replicas(group.rank, group.size, group.concat, group.sum, exchange, rows.share, rows.total)

    def gradients(
        self,
        batch: Batch,
        share: tf.Tensor,
        step: tf.Tensor,
        replicas: Replicas | None = None,
        seed_of: tf.Tensor | None = None,
        touched: Sequence[tf.Tensor] | None = None,
    ) -> tuple[list[RowGradient], list[tf.Tensor], tf.Tensor, ForwardContext]:
        """This rank's part of the gradients and losses of a step.

        Args:
            batch: Its rows.
            share: float32 scalar, its share of all ranks' rows.
            step: int64 scalar, updates done before.
            replicas: The ranks, for losses over the rows of all; None: each rank on its own.
            seed_of: int32 scalar, the rank whose random numbers are drawn; by default this one.
            touched: The result of `Recommender.touch` for the batch, if it has already been called.

        Returns:
            Gradients of the trained banks' touched rows and of the dense variables, the losses in the
            order of `loss_names` (float32 [names]), and the forward pass with its moving averages.
        """
        model = self.recommender
        seed = self._random_seed(step, self.group.rank if seed_of is None else seed_of)
        run = ForwardContext(training=True, seed=seed, impl=model.policy.dense_layers)
        touched = model.touch(batch) if touched is None else touched
        trained, dense_variables = model.trained_banks, model.dense_trainable
        watched = [*(touched[i] for i in trained), *dense_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            output = model.forward(batch, touched, run)
            losses = model.losses(batch, output, True, step, replicas)
            kernel = tf.stop_gradient(model.kernel_penalty())
            target = self._target(losses, kernel, output, share)
        gradients = tape.gradient(target, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        rows = [
            RowGradient(batch[f"bank{i}/rows"], tf.convert_to_tensor(g))
            for i, g in zip(trained, gradients, strict=False)
        ]
        dense = [tf.convert_to_tensor(g) for g in gradients[len(trained) :]]
        dense = model.add_kernel_penalty(dense, share, self.reducer.buckets)
        return rows, dense, self._report(losses, kernel, output, share, target), run

    def _target(
        self, losses: dict[str, tf.Tensor], kernel: tf.Tensor, output: ForwardResult, share: tf.Tensor
    ) -> tf.Tensor:
        """This rank's part of the step's loss: sums over rows unchanged, the rest weighted by its share."""
        summed = self.recommender.summed_losses
        means = [value for name, value in losses.items() if name not in summed]
        mean = tf.add_n(means) + kernel if means else kernel
        target = share * mean + output.embedding_penalty
        return tf.add_n([target, *(losses[name] for name in losses if name in summed)])

    def _report(
        self,
        losses: dict[str, tf.Tensor],
        kernel: tf.Tensor,
        output: ForwardResult,
        share: tf.Tensor,
        target: tf.Tensor,
    ) -> tf.Tensor:
        summed = self.recommender.summed_losses
        names = self.recommender.loss_names(training=True)
        values = [losses[name] if name in summed else share * losses[name] for name in names]
        if "regularization_loss" in self.loss_names:
            values.append(share * kernel + output.embedding_penalty)
        return tf.stack([*values, target])

    def _random_seed(self, step: tf.Tensor, rank: tf.Tensor | int) -> tf.Tensor:
        """int32 [2], a different seed for every step and rank."""
        low = tf.cast(step % (1 << 20), tf.int32) * 1024 + rank % 1024
        return tf.stack([low, tf.constant(self.seed & 0x3FFFFFFF, tf.int32)])
