"""Pictures of an evaluation in TensorBoard: curves of the predictions, norms of the embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from hvdrec.features.plan import Table
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.strategy import Bank
from hvdrec.metrics.curves import Curves
from hvdrec.models.heads.base import Head
from hvdrec.models.recommender import Recommender
from hvdrec.trainer.run.log import RunLog
from hvdrec.trainer.watch.drawing import UnitSquare
from hvdrec.trainer.watch.evaluator import HeadMetric

#: The most rows of a table whose norms are computed, evenly spaced; the second if they are on other ranks.
_MOST_ROWS, _MOST_MET = 1 << 14, 1 << 12
_NONE = np.empty(0, np.int32)


class Pictures:
    """Collects data during an evaluation, and draws the pictures.

    Heads with one probability per row get ``precision_recall`` (the PR curves dashboard), ``roc``
    and ``calibration`` (images), with the head's suffix; all models get ``embedding_norm/<table>``
    (histograms).
    """

    def __init__(self, recommender: Recommender, heads: Sequence[Head]) -> None:
        """Starts without data.

        Args:
            recommender: The model.
            heads: The model's heads with one probability of being positive per row.
        """
        self._recommender = recommender
        self._heads = heads
        self._curves: list[tuple[str, Curves]] = []
        self._norms: list[tuple[str, np.ndarray]] = []

    def metrics(self) -> list[HeadMetric]:
        """Additional consumers of the next evaluation's predictions."""
        found = [(head, Curves()) for head in self._heads]
        self._curves = [(head.config.suffix, curves) for head, curves in found]
        return [HeadMetric(head, curves) for head, curves in found]

    def write(self, log: RunLog, folder: str, step: int, result: Mapping[str, float]) -> None:
        """Draws the last evaluation.

        Args:
            log: The run's (rank 0).
            folder: The folder in model_dir, such as ``eval_val``.
            step: The step evaluated.
            result: Its metrics.
        """
        if not self._recommender.strategy.meets:
            self.look()
        with log.events(folder):
            for suffix, curves in self._curves:
                if any(curves.totals()):
                    _draw(curves, suffix, step, result.get(f"auc{suffix}"))
            for name, norms in self._norms:
                tf.summary.histogram(f"embedding_norm/{name}", norms, step)

    def look(self, draws: bool = True) -> None:
        """Collects the data of tables that `write` draws (collective if ranks meet).

        Args:
            draws: Whether this rank draws; others only take part.
        """
        model = self._recommender
        most = _MOST_MET if model.strategy.meets else _MOST_ROWS
        samples = [
            [_sample(t, bank, n, most) if draws else _NONE for n, t in enumerate(b.tables)]
            for b, bank in zip(model.plan.banks, model.banks, strict=True)
        ]
        rows = model.strategy.gather([tf.constant(np.concatenate(each)) for each in samples])
        self._norms = []
        for bank, each, found in zip(model.plan.banks, samples, rows, strict=True):
            values = np.split(np.linalg.norm(found.numpy(), axis=1), np.cumsum([len(s) for s in each])[:-1])
            names = (t.name.removesuffix("/embedding_weights") for t in bank.tables)
            self._norms.extend(zip(names, values, strict=True))


def _sample(table: Table, bank: Bank, number: int, most: int) -> np.ndarray:
    if isinstance(bank, DynamicBank):
        rows = bank.ids(number, True)[3]
        return rows[:: max(1, -(-len(rows) // most))]
    return np.arange(table.offset, table.offset + table.rows, -(-table.rows // most), dtype=np.int32)


_ROC = "a random model follows the diagonal, a perfect one the left and top of the frame"
_CALIBRATION = (
    "the share of positive rows (vertical) over the mean predicted probability (horizontal), "
    "in twenty equal bins; a calibrated model follows the diagonal; pale bars: the "
    "number of rows in a bin, relative to the largest"
)


def _draw(curves: Curves, suffix: str, step: int, auc: float | None) -> None:
    _precision_recall(curves, suffix, step)
    _image(f"roc{suffix}", step, roc(curves, auc), _ROC)
    _image(f"calibration{suffix}", step, _calibration(curves), _CALIBRATION)


def _precision_recall(curves: Curves, suffix: str, step: int) -> None:
    # It imports clients of stores if they are installed: only runs that draw pay for that.
    from tensorboard.plugins.pr_curve import summary as pr_curve

    true, false, negative, missed = curves.confusion()
    precision, recall = curves.precision_recall()
    drawn = pr_curve.raw_data_pb(
        f"precision_recall{suffix}",
        *(true, false, negative, missed, precision, recall),
        num_thresholds=len(true),
    )
    tf.summary.experimental.write_raw_pb(drawn.SerializeToString(), step)


def roc(curves: Curves, auc: float | None = None) -> UnitSquare:
    """The ROC curve, with the evaluation's `auc` or else the area under the drawn points."""
    across, up = curves.roc()
    area = float(np.sum((across[:-1] - across[1:]) * (up[:-1] + up[1:]) / 2)) if auc is None else auc
    # With rows of only one class, the area is undefined.
    title = f"ROC curve, AUC {area:.4f}" if all(curves.totals()) and np.isfinite(area) else "ROC curve"
    picture = UnitSquare(title, "false positive rate", "true positive rate")
    picture.curve(across, up)
    return picture


def _calibration(curves: Curves) -> UnitSquare:
    picture = UnitSquare("calibration", "mean predicted probability", "share of positive rows")
    predicted, positive, rows = curves.calibration()
    picture.bars(predicted, rows)
    picture.curve(predicted, positive)
    picture.points(predicted, positive)
    return picture


def _image(name: str, step: int, picture: UnitSquare, description: str) -> None:
    tf.summary.image(name, picture.pixels[None], step, description=description)
