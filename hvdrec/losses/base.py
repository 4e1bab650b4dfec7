"""What every loss gets, and what a loss is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from hvdrec.ops.policy import Policy, resolve


@dataclasses.dataclass(frozen=True)
class Replicas:
    """The ranks that train together, for a loss over the rows of all of them.

    Attributes:
        rank: This process, counted from 0.
        concat: Stacks the ranks' tensors of that name along axis 0, in rank order.
        sum: Adds the ranks' tensors of that name; no two in one step may have the same.
        share: float32 scalar, this rank's share of the step's rows. The step adds up the ranks'
            losses and gradients, each times its share.
        rows: float32 scalar, the step's rows of all ranks.
    """

    rank: int
    concat: Callable[[tf.Tensor, str], tf.Tensor]
    sum: Callable[[tf.Tensor, str], tf.Tensor]
    share: tf.Tensor
    rows: tf.Tensor

    def named(self, loss: str) -> Replicas:
        """The same ranks for the loss of that name, whose tensors go by names of their own."""
        return dataclasses.replace(
            self,
            concat=lambda value, name: self.concat(value, f"loss/{loss}/{name}"),
            sum=lambda value, name: self.sum(value, f"loss/{loss}/{name}"),
        )


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Users and the items that each of them might have chosen.

    Attributes:
        queries: float32 [B, D], the users; their products with items are logits.
        items: float32 [M, D]: item i is user i's, the others of the batch and the sampled ones behind them
            are negatives.
        item_ids: int64 [B]; other items of the id of item i are no negatives of user i. None: all are.
        owners: int64 [O]; the last O items are negatives of these users alone.
    """

    queries: tf.Tensor
    items: tf.Tensor
    item_ids: tf.Tensor | None = None
    owners: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class LossBatch:
    """The rows a loss is computed over: those of one rank and one step, possibly none.

    Attributes:
        logits: float32 [B], or [B, C] where `num_class` is over 1: the model's raw output. The
            embeddings, float32 [B, D], where the loss is one of embeddings.
        labels: float32 [B], or int32 [B] in 0..C-1 where `num_class` is over 1; int64 [B] where
            the loss is one of embeddings, and only their equality means anything.
        weights: float32 [B] sample weights; None means that all are 1.
        session: Gives the int64 [B] ids of the feature or field of that name; only their
            equality means anything.
        num_class: C.
        step: int64 scalar, the global step; needed only where a loss draws random numbers.
        related: float32 [B] each, the logits of the heads that this one builds on.
        variables: What the loss asked for (`Loss.variables`), by name.
        towers: The users' and items' embeddings, float32 [B, D] each of norm 1, where the model has
            two towers.
        candidates: Users and items, where the model matches them.
        row_sessions: int64 [B] sessions for losses of embeddings, if the model names any.
        replicas: The ranks, in training on several; None: this rank's rows are all there are.
        with_gradient: Whether the losses will be differentiated.
        policy: Which implementations compute it.
    """

    logits: tf.Tensor
    labels: tf.Tensor
    weights: tf.Tensor | None
    session: Callable[[str], tf.Tensor]
    num_class: int = 1
    step: tf.Tensor | None = None
    related: tuple[tf.Tensor, ...] = ()
    variables: Mapping[str, tf.Variable] = dataclasses.field(default_factory=dict)
    towers: tuple[tf.Tensor, tf.Tensor] | None = None
    candidates: Candidates | None = None
    row_sessions: tf.Tensor | None = None
    replicas: Replicas | None = None
    with_gradient: bool = True
    policy: Policy = dataclasses.field(default_factory=resolve)

    def sessions(self, name: str | None) -> tf.Tensor | None:
        """The session ids of that name, None where there is no name (all rows are one session)."""
        return self.session(name) if name else None

    def named(self, name: str) -> LossBatch:
        """The same rows for the loss of that name, whose exchanges with other ranks go by it."""
        if self.replicas is None:
            return self
        return dataclasses.replace(self, replicas=self.replicas.named(name))


@dataclasses.dataclass(frozen=True)
class LossVariable:
    """A number that a loss learns.

    Attributes:
        name: By which it asks for it; also the variable's name in checkpoints, with the loss's own name
            in the place of ``{loss}``, and a model's scope in that of ``{scope}``.
        shape: Its dimensions.
        first: Its first value.
    """

    name: str
    shape: tuple[int, ...]
    first: float


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss with its parameters.

    Attributes:
        compute: Gives the float32 scalar of a batch, before any loss weight: exactly 0, with
            finite gradients, for a batch without rows.
        session_name: The feature or field whose equal values make a session, if it needs one.
        variables: What it learns.
    """

    compute: Callable[[LossBatch], tf.Tensor]
    session_name: str | None = None
    variables: tuple[LossVariable, ...] = ()
