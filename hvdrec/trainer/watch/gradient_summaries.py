"""Gradients in TensorBoard (`train_config.summary_model_vars`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.layers.banks.dynamic import RowView
from hvdrec.layers.banks.gradient import Gradient, RowGradient
from hvdrec.trainer.run.log import RunLog
from hvdrec.trainer.step.feed import FeedCall, call_spec
from hvdrec.trainer.step.step import Rows, TrainStep


class GradientSummaries:
    """Writes the gradient that updates each variable, under EasyRec's names.

    ``gradient_norm/<variable>_0`` is a scalar, ``gradients/<variable>_0`` a histogram; for an embedding
    table, only the rows touched by the batch. The gradients are computed again for this, with the same
    dropout, and update nothing.

    Attributes:
        period: The number of steps between summaries.
    """

    def __init__(self, step: TrainStep, entries: Sequence[SavedTensor], log: RunLog, period: int) -> None:
        """Sets up the summaries; nothing is traced before the first call.

        Args:
            step: The training step.
            entries: The model's variables, by their names in checkpoints.
            log: The record that rank 0 writes to.
            period: `save_summary_steps`.
        """
        self.period = period
        self._step, self._entries, self._log = step, entries, log
        self._gradients = tf.function(
            self._gradients_graph, input_signature=[call_spec(step.feed.specs)], autograph=False
        )

    def before(self, step: int, call: FeedCall) -> None:
        """Writes the gradients of the call's first step (collective)."""
        total, found = self._gradients(call)
        if self._step.group.rank != 0 or total.numpy() == 0.0:
            return
        gradients = [RowGradient(*g) if isinstance(g, tuple) else g for g in found]
        by_variable = {id(v): g for v, g in zip(self._step.variables, gradients, strict=True)}
        with self._log.events(""):
            for name, values in _by_name(self._entries, by_variable):
                norm = np.sqrt(np.sum(np.square(values, dtype=np.float64)))
                tf.summary.scalar(f"gradient_norm/{name}_0", np.float32(norm), step=step)
                if values.size and np.isfinite(norm):
                    tf.summary.histogram(f"gradients/{name}_0", values, step=step)

    def after(self, step: int) -> None:
        """Does nothing."""

    def _gradients_graph(
        self, call: FeedCall
    ) -> tuple[tf.Tensor, list[tf.Tensor | tuple[tf.Tensor, tf.Tensor]]]:
        own = tf.cast(call.rows[0], tf.float32)
        total = self._step.group.sum(tf.reshape(own, [1]), "summary_rows")[0]
        batch = self._step.feed.unpack(call, tf.constant(0))
        found = self._step.exchange(batch, Rows.of(own, total), tf.identity(self._step.global_step)).gradients
        strategy = self._step.recommender.strategy
        banks = len(strategy.trained)
        found = [*strategy.everywhere(found[:banks]), *found[banks:]]
        return total, [(g.rows, g.values) if isinstance(g, RowGradient) else g for g in found]


def _by_name(
    entries: Sequence[SavedTensor], gradients: dict[int, Gradient]
) -> Iterator[tuple[str, np.ndarray]]:
    """Each trained variable's gradient; for a bank, table by table."""
    for entry in entries:
        view = entry.variable
        gradient = gradients.get(id(view.source if isinstance(view, RowView) else view))
        if gradient is None:
            continue
        if isinstance(view, RowView) and isinstance(gradient, RowGradient):
            own = np.isin(gradient.rows.numpy(), view.bank.ids(view.table, True)[3])
            yield entry.name, gradient.values.numpy()[own]
            continue
        first, last = entry.rows or (0, entry.variable.shape[0])
        if isinstance(gradient, RowGradient):
            rows = gradient.rows.numpy()
            yield entry.name, gradient.values.numpy()[(rows >= first) & (rows < last)]
        else:
            yield entry.name, gradient.numpy()[first:last]
