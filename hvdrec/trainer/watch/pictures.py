"""Pictures of an evaluation in TensorBoard: curves of the predictions, norms of the embeddings."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorboard.plugins.pr_curve import summary as pr_curve

from hvdrec.metrics.base import Metric
from hvdrec.metrics.curves import Curves
from hvdrec.models.recommender import Recommender
from hvdrec.trainer.run.log import RunLog
from hvdrec.trainer.watch.drawing import UnitSquare

#: Norms of at most this many rows of a table are taken, evenly spread.
_MOST_ROWS = 1 << 18


class Pictures:
    """Collects what is drawn during an evaluation, and draws it.

    Models with one probability a row get ``precision_recall`` (the PR curves dashboard), ``roc``
    and ``calibration`` (images); all get ``embedding_norm/<table>`` (histograms).
    """

    def __init__(self, recommender: Recommender, has_probability: bool) -> None:
        """Nothing is collected yet.

        Args:
            recommender: The model.
            has_probability: Whether each row has one probability of being positive.
        """
        self._recommender = recommender
        self._has_probability = has_probability
        self._curves: Curves | None = None

    def metrics(self) -> list[Metric]:
        """What the next evaluation has to feed besides its metrics."""
        self._curves = Curves() if self._has_probability else None
        return [] if self._curves is None else [self._curves]

    def write(self, log: RunLog, folder: str, step: int) -> None:
        """Draws the last evaluation.

        Args:
            log: The run's (rank 0).
            folder: Below model_dir, as ``eval_val``.
            step: The step evaluated.
        """
        with log.events(folder):
            if self._curves is not None and any(self._curves.totals()):
                _precision_recall(self._curves, step)
                _image(
                    "roc", step, _roc(self._curves), "false positive rate (across), true positive rate (up)"
                )
                _image("calibration", step, _calibration(self._curves), _CALIBRATION)
            for name, norms in self._norms():
                tf.summary.histogram(f"embedding_norm/{name}", norms, step)

    def _norms(self) -> list[tuple[str, np.ndarray]]:
        found = []
        for bank, layout in zip(self._recommender.banks, self._recommender.plan.banks, strict=True):
            for table in layout.tables:
                stride = -(-table.rows // _MOST_ROWS)
                rows = bank.touch(tf.range(table.offset, table.offset + table.rows, stride))
                name = table.name.removesuffix("/embedding_weights")
                found.append((name, np.linalg.norm(rows.numpy(), axis=1)))
        return found


_CALIBRATION = (
    "mean predicted probability (across) against the share of positive rows (up), in twenty even bins; "
    "on the diagonal a model is calibrated; pale: how many rows a bin has, relative to the largest"
)


def _precision_recall(curves: Curves, step: int) -> None:
    true, false, negative, missed = curves.confusion()
    precision, recall = curves.precision_recall()
    drawn = pr_curve.raw_data_pb(
        "precision_recall", true, false, negative, missed, precision, recall, num_thresholds=len(true)
    )
    tf.summary.experimental.write_raw_pb(drawn.SerializeToString(), step)


def _roc(curves: Curves) -> UnitSquare:
    picture = UnitSquare()
    picture.curve(*curves.roc())
    return picture


def _calibration(curves: Curves) -> UnitSquare:
    picture = UnitSquare()
    predicted, positive, rows = curves.calibration()
    picture.bars(predicted, rows)
    picture.curve(predicted, positive)
    picture.points(predicted, positive)
    return picture


def _image(name: str, step: int, picture: UnitSquare, description: str) -> None:
    tf.summary.image(name, picture.pixels[None], step, description=description)
