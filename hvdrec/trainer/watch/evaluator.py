"""Evaluation: every rank evaluates its batches, and the metrics are merged exactly."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from hvdrec.data.batch import PackedBatch
from hvdrec.layers.context import ForwardContext
from hvdrec.metrics.base import EvalBatch, Metric
from hvdrec.metrics.mean import Mean
from hvdrec.models.heads.base import Head
from hvdrec.models.recommender import Recommender
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.run.agree import PeerError, exit_code_of
from hvdrec.trainer.run.log import json_numbers, logger
from hvdrec.trainer.run.turns import Turns
from hvdrec.trainer.step.feed import Feed, FeedCall, call_spec


class EvalOutput(NamedTuple):
    """A batch, the model's predictions for it by name, its losses by name and other scalars by name."""

    batch: PackedBatch
    predictions: dict[str, np.ndarray]
    losses: Mapping[str, Any]
    means: Mapping[str, Any]


class HeadMetric(NamedTuple):
    """A metric, and the head that it evaluates."""

    head: Head
    metric: Metric

    def result(self) -> dict[str, float]:
        """The metric by EasyRec's name, with the head's suffix."""
        suffix = self.head.config.suffix
        return {f"{name}{suffix}": value for name, value in self.metric.result().items()}


class Evaluator:
    """Runs the model without training on packed batches."""

    def __init__(self, recommender: Recommender, feed: Feed) -> None:
        """Sets up the evaluator; nothing is traced before the first batch."""
        self._recommender = recommender
        self._feed = feed
        signature = [call_spec(feed.specs)]
        self._evaluate = tf.function(self._evaluate_graph, input_signature=signature, autograph=False)
        self._predict = tf.function(self._predict_graph, input_signature=signature, autograph=False)

    def _forward(self, call: FeedCall) -> tuple[dict[str, tf.Tensor], Any]:
        batch = self._feed.unpack(call, tf.constant(0))
        return batch, self._recommender.forward(
            batch, self._recommender.touch(batch), ForwardContext(training=False)
        )

    def _predict_graph(self, call: FeedCall) -> dict[str, tf.Tensor]:
        _, output = self._forward(call)
        return self._recommender.predictions(output)

    def _evaluate_graph(
        self, call: FeedCall
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        batch, output = self._forward(call)
        losses = self._recommender.losses(batch, output, False, tf.constant(0, tf.int64))
        predictions = {
            **self._recommender.predictions(output),
            **self._recommender.evaluated(batch, output),
        }
        # Metrics read only numbers; embeddings formatted as text are for prediction.
        numbers = {name: t for name, t in predictions.items() if t.dtype != tf.string}
        return numbers, losses, self._recommender.means(output)

    def predict_call(self, call: FeedCall) -> dict[str, np.ndarray]:
        """What metrics read of the predictions for the first batch of a call, by name."""
        return {name: t.numpy() for name, t in self._evaluate(call)[0].items()}

    def predict(self, batch: PackedBatch) -> dict[str, np.ndarray]:
        """EasyRec's prediction tensors of one batch, by name."""
        return {name: t.numpy() for name, t in self._predict(self._feed.stack([batch])).items()}

    def evaluate(
        self,
        batches: Iterable[PackedBatch],
        metrics: Sequence[HeadMetric],
        group: ReplicaGroup,
        limit: int | None = None,
    ) -> dict[str, float]:
        """Evaluates this rank's batches and merges with the other ranks (collective).

        Args:
            batches: This rank's share.
            metrics: New metrics, without data.
            group: The ranks.
            limit: The maximum number of batches on this rank.

        Returns:
            Metrics and mean losses by EasyRec's names (``auc``, ``loss/loss/total_loss``, ...).
        """
        losses = {name: Mean() for name in (*self._recommender.loss_names(training=False), "total_loss")}
        means = {name: Mean() for name in self._recommender.model.mean_names}
        parts: list[Metric | Mean] = [*(each.metric for each in metrics), *losses.values(), *means.values()]
        error: Exception | None = None
        meets = self._recommender.strategy.meets
        turns = Turns(group if meets else None, self._run, self._feed.empty)
        try:
            for output in self._outputs((b for b in itertools.islice(batches, limit) if b.rows), turns):
                self._add(output, metrics, losses)
                for name, value in output.means.items():
                    means[name].update(float(value))
        except Exception as failure:
            error = failure
        turns.end()
        failed = (str(error), exit_code_of(error)) if error else None
        gathered = group.gather_objects((failed, [part.state() for part in parts]))
        if error is not None:
            raise error
        for rank, (found, _) in enumerate(gathered):
            if found is not None:
                text, code = found
                raise PeerError(f"rank {rank} failed: {text}", code)
        for i, part in enumerate(parts):
            part.merge([states[i] for _, states in gathered])
        result: dict[str, float] = {}
        for each in metrics:
            values = each.result()
            result.update(values)
            for name in (n for n, value in values.items() if math.isnan(value) and group.rank == 0):
                logger.warning(
                    "%s is undefined on this evaluation data, which has no %s", name, each.metric.needs
                )
        result.update({name: mean.result() for name, mean in means.items()})
        for name, mean in losses.items():
            result[f"loss/loss/{name}"] = mean.result()
        result["loss"] = result["loss/loss/total_loss"]
        return result

    def _run(self, batch: PackedBatch) -> tuple[dict[str, tf.Tensor], ...]:
        return self._evaluate(self._feed.stack([batch]))

    def _outputs(self, batches: Iterable[PackedBatch], turns: Turns) -> Iterator[EvalOutput]:
        """Runs the model on each batch."""
        for batch in batches:
            predictions, *scalars = turns.take(batch)
            yield EvalOutput(batch, {name: t.numpy() for name, t in predictions.items()}, *scalars)

    def _add(self, output: EvalOutput, metrics: Sequence[HeadMetric], losses: dict[str, Mean]) -> None:
        batch, predictions, values, _ = output
        numbers = {name: float(v) for name, v in values.items()}
        for name, value in numbers.items():
            losses[name].update(value)
        losses["total_loss"].update(float(np.sum(np.asarray(list(numbers.values()), np.float32))))
        for each, evaluated in rows_of_metrics(self._recommender, batch.arrays, predictions, metrics):
            each.metric.update(evaluated)


def rows_of_metrics(
    recommender: Recommender,
    arrays: Mapping[str, np.ndarray],
    predictions: Mapping[str, np.ndarray],
    metrics: Sequence[HeadMetric],
) -> Iterator[tuple[HeadMetric, EvalBatch]]:
    """What each metric reads of a batch.

    Args:
        recommender: The model.
        arrays: The batch.
        predictions: Its predictions by name.
        metrics: The metrics of all heads.
    """
    ids = {name[3:]: a for name, a in arrays.items() if name.startswith("id/")}
    for head in recommender.heads:
        evaluated = EvalBatch(*head.evaluated_rows(arrays, predictions, ids))
        for each in metrics:
            if each.head is head:
                yield each, evaluated


def write_result(path: str, result: dict[str, float], step: int | None) -> None:
    """Writes an evaluation as EasyRec does: JSON, sorted, indented by two.

    Args:
        path: The file.
        result: The evaluation.
        step: Added as `global_step`; None: not added.
    """
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp-{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        added = {} if step is None else {"global_step": step}
        json.dump({**json_numbers(result), **added}, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(temporary, path)
