"""The interface of losses, and their inputs."""

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
        size: The number of ranks.
        concat: Concatenates the ranks' tensors of that name along axis 0, in rank order.
        sum: Sums the ranks' tensors of that name; names must be unique in a step.
        exchange: Sends each rank its part of a tensor along axis 0 (the lengths are given, int32 [size]), and
            returns the parts received from the ranks, in rank order.
        share: float32 scalar, this rank's share of the step's rows. The step sums the ranks' losses and
            gradients, each multiplied by its share.
        rows: float32 scalar, the number of rows of all ranks in the step.
    """

    rank: int
    size: int
    concat: Callable[[tf.Tensor, str], tf.Tensor]
    sum: Callable[[tf.Tensor, str], tf.Tensor]
    exchange: Callable[[tf.Tensor, tf.Tensor, str], tf.Tensor]
    share: tf.Tensor
    rows: tf.Tensor

    def named(self, loss: str) -> Replicas:
        """The same ranks for the loss of that name, with separate tensor names."""
        return dataclasses.replace(
            self,
            concat=lambda value, name: self.concat(value, f"loss/{loss}/{name}"),
            sum=lambda value, name: self.sum(value, f"loss/{loss}/{name}"),
            exchange=lambda value, counts, name: self.exchange(value, counts, f"loss/{loss}/{name}"),
        )


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Users, and the candidate items of each.

    Attributes:
        queries: float32 [B, D], the users; their products with items are logits.
        items: float32 [M, D]: item i is user i's; the batch's other items, and the sampled ones after them,
            are negatives.
        item_ids: int64 [B]; other items with the id of item i are not negatives of user i. None means that
            all are.
        owners: int64 [O]; the last O items are negatives of only these users.
        log_frequency: float32 [M - O], the log of how often each item is a candidate, up to a constant; it is
            subtracted from the item's logits. None for no correction.
    """

    queries: tf.Tensor
    items: tf.Tensor
    item_ids: tf.Tensor | None = None
    owners: tf.Tensor | None = None
    log_frequency: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class LossBatch:
    """The rows of a loss: those of one rank in one step, possibly none.

    Attributes:
        logits: float32 [B], or [B, C] if `num_class` is above 1: the model's raw output. For losses of
            embeddings, the embeddings, float32 [B, D].
        labels: float32 [B], or int32 [B] in 0..C-1 if `num_class` is above 1; int64 [B] for losses of
            embeddings, where only equality is meaningful.
        weights: float32 [B] sample weights; None means that all are 1.
        session: Returns the int64 [B] ids of the feature or field of that name; only equality is meaningful.
        num_class: C.
        step: int64 scalar, the global step; needed only if a loss draws random numbers.
        related: float32 [B] each, the logits of the heads that this one depends on.
        variables: The variables in `Loss.variables`, by name.
        towers: The users' and items' embeddings, float32 [B, D] each of norm 1, if the model has two towers.
        candidates: Users and items, for matching models.
        row_sessions: int64 [B] sessions for losses of embeddings, if the model names any.
        replicas: The ranks, when training on several; None if this rank's rows are all rows.
        with_gradient: Whether the losses will be differentiated.
        policy: The implementations to use.
        name: The loss's name, which names its exchanges between ranks and is part of its random seeds.
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
    name: str = ""

    def sessions(self, name: str | None) -> tf.Tensor | None:
        """The session ids of that name, None without a name (all rows are one session)."""
        return self.session(name) if name else None

    def named(self, name: str) -> LossBatch:
        """The same rows for the loss of that name."""
        replicas = None if self.replicas is None else self.replicas.named(name)
        return dataclasses.replace(self, name=name, replicas=replicas)


@dataclasses.dataclass(frozen=True)
class LossVariable:
    """A learnt parameter of a loss.

    Attributes:
        name: Its name; also the variable's name in checkpoints, where ``{loss}`` is replaced by the loss's
            name and ``{scope}`` by the model's scope.
        shape: Its dimensions.
        first: Its initial value.
    """

    name: str
    shape: tuple[int, ...]
    first: float


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss with its parameters.

    Attributes:
        compute: Computes the float32 scalar of a batch, before any loss weight: exactly 0, with finite
            gradients, for a batch without rows.
        session_name: The feature or field with the session ids, if it needs sessions.
        variables: Its learnt parameters.
    """

    compute: Callable[[LossBatch], tf.Tensor]
    session_name: str | None = None
    variables: tuple[LossVariable, ...] = ()
