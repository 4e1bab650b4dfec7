"""Finds the source of a non-finite number: which tensor, on which rank, from which rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from hvdrec.data.batch import PackedBatch
from hvdrec.features.layout import ROWS
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import variable_key
from hvdrec.trainer.step.step import TrainStep

_SHOWN = 5


def explain(step: TrainStep, batch: PackedBatch, rank: int) -> str | None:
    """Repeats the failed step on this rank's batch and reports what was not finite.

    All ranks call it, as they meet in it where tables are split. Nothing was updated by that step, so
    repeating it gives the same numbers.

    Returns:
        One line of text, or None if all numbers on this rank are finite.
    """
    model = step.recommender
    if batch.rows == 0 and not model.strategy.meets:
        return None
    arrays = {name: tf.convert_to_tensor(a) for name, a in batch.arrays.items()}
    arrays.setdefault("dense", tf.zeros([batch.rows, 0]))
    touched = model.touch(arrays)
    if batch.rows == 0:
        return None
    now = tf.identity(step.global_step)
    of_rows, dense, losses, _ = step.gradients(arrays, tf.constant(1.0), now, touched=touched)
    bad = [f"loss {n}" for n, v in zip(step.loss_names, losses.numpy(), strict=True) if not np.isfinite(v)]
    for i, gradient in zip(model.trained_banks, of_rows, strict=True):
        bad.extend(_bad_tables(step, i, gradient.rows.numpy(), gradient.values.numpy()))
    for variable, gradient in zip(model.dense_trainable, dense, strict=True):
        if not np.isfinite(gradient.numpy()).all():
            bad.append(f"gradient of {variable_key(variable)}")
    if not bad:
        return None
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"rank {rank}: not finite: {', '.join(bad[:_SHOWN])}{more}; {_rows(step, arrays, touched, batch)}"


def _bad_tables(step: TrainStep, index: int, rows: np.ndarray, values: np.ndarray) -> list[str]:
    wrong = rows[~np.isfinite(values).all(axis=1)]
    bank = step.recommender.banks[index]
    if isinstance(bank, DynamicBank):
        return [f"gradient of {name}" for name in bank.names_of(wrong)]
    return [
        f"gradient of {t.name}"
        for t in step.recommender.plan.banks[index].tables
        if ((wrong >= t.offset) & (wrong < t.offset + t.rows)).any()
    ]


def _rows(
    step: TrainStep, arrays: dict[str, tf.Tensor], touched: Sequence[tf.Tensor], batch: PackedBatch
) -> str:
    """Names the rows whose inputs or outputs aren't finite."""
    outputs = step.recommender.forward(arrays, touched, ForwardContext(training=False)).outputs
    per_row = {s.name for s in step.feed.specs if s.row_set == ROWS and s.dtype == np.float32}
    inputs = [(name, values) for name, values in batch.arrays.items() if name in per_row]
    for name, values in [*inputs, *((n, t.numpy()) for n, t in outputs.items())]:
        wrong = np.flatnonzero(~np.isfinite(values.reshape(batch.rows, -1)).all(axis=1))
        if wrong.size:
            where = [
                batch.locate(int(i)) if batch.locate else f"row {i} of the batch" for i in wrong[:_SHOWN]
            ]
            return f"{name} is not finite in {wrong.size} rows: {'; '.join(where)}"
    first = batch.locate(0) if batch.locate else "its first row"
    return f"all inputs of its {batch.rows} rows (from {first}) are finite"
