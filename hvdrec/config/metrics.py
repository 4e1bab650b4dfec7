"""Metrics that a config can name, and what each requires: one table for checks, docs and builders."""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any

from hvdrec.config.losses import LIST_WISE, LogitMeaning
from hvdrec.config.names import listed


class Needs(enum.Enum):
    """What a metric requires of the head that it is computed for."""

    #: One probability per row, of being positive.
    PROBABILITY = enum.auto()
    #: Probabilities, of any number of classes.
    CLASS = enum.auto()
    #: One number per row, a probability or a value.
    NUMBER = enum.auto()
    #: Several classes, embeddings, or other items.
    RANKING = enum.auto()
    EMBEDDING = enum.auto()


#: Keyed by the field of `EvalMetrics`; `hvdrec.metrics.registry` has the code.
SPECS: dict[str, Needs] = {
    "auc": Needs.CLASS,
    "gauc": Needs.PROBABILITY,
    "session_auc": Needs.PROBABILITY,
    "max_f1": Needs.PROBABILITY,
    "accuracy": Needs.CLASS,
    "precision": Needs.PROBABILITY,
    "recall": Needs.PROBABILITY,
    "mean_absolute_error": Needs.NUMBER,
    "mean_squared_error": Needs.NUMBER,
    "root_mean_squared_error": Needs.NUMBER,
    "recall_at_topk": Needs.RANKING,
    "precision_at_topk": Needs.EMBEDDING,
}

#: How `gauc` and `session_auc` average over users or sessions.
REDUCTIONS = ("mean", "mean_by_sample_num", "mean_by_positive_num")


def misfit(
    metric: str, message: Any, meanings: Collection[LogitMeaning], losses: Collection[str], num_class: int
) -> tuple[str, str] | None:
    """Why a head can't have a metric; None if it can.

    Args:
        metric: A name in `SPECS`.
        message: Its message in `metrics_set`.
        meanings: What the head's logit means.
        losses: The names of the `LossType` of its losses.
        num_class: The number of classes of its probabilities.

    Returns:
        The field of the metric that is wrong ("" for the metric itself), and what is wrong.
    """
    needs, found = SPECS[metric], listed(losses)
    embedding = LogitMeaning.EMBEDDING in meanings
    if needs is Needs.EMBEDDING and not embedding:
        return "", f"needs a loss of embeddings, found {found}"
    probable = {LogitMeaning.PROBABILITY, LogitMeaning.AMOUNT} & set(meanings)
    if needs in (Needs.PROBABILITY, Needs.CLASS) and not probable:
        return "", f"needs a loss that gives probabilities, found {found}"
    if needs is Needs.PROBABILITY and num_class > 2:
        return "", f"needs num_class 1 or 2, is {num_class}"
    if needs is Needs.NUMBER and embedding:
        return "", f"needs a loss with one output, found {found}"
    if needs is Needs.NUMBER and num_class > 1:
        return "", f"needs num_class 1, is {num_class}"
    if needs is Needs.RANKING and not embedding and LIST_WISE not in losses:
        if num_class < 2:
            return "", f"needs num_class above 1, is {num_class}"
        if not 0 < message.topk <= num_class:
            return (
                "topk",
                f"must be at least 1 and at most num_class ({num_class}), is {message.topk}",
            )
    return None
