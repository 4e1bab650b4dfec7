"""Smooth losses of all pairs of rows across several ranks, by sums over rows."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.ops.library import load_ops


class PairwiseBins:
    """This rank's rows, by bins of label and panel of the score axis.

    The loss over all ranks' rows needs only the moments of each bin, which are additive over the ranks
    (csrc/kernels/pairwise/bins.h). The ranks therefore gather their `bins`, sum the moments that `moments`
    returns, and compute the loss with `loss`. No gradient flows through this.

    Attributes:
        bins: float64 [K, 4], the bins of this rank's rows.
    """

    def __init__(
        self,
        scores: tf.Tensor,
        labels: tf.Tensor,
        kind: str,
        *,
        weights: tf.Tensor | None = None,
        temperature: float = 1.0,
        margin: float = 0.0,
        label_scale: float = 0.0,
        gamma: float = 2.0,
    ) -> None:
        """Finds the bins; the arguments are those of `hvdrec.ops.pairwise.pairwise`.

        Args:
            scores: float32 or float64 [B].
            labels: [B], graded.
            kind: ``logistic`` or ``focal``.
            weights: [B], or None for 1.
            temperature: Divides the scores.
            margin: By how much the higher-labelled row should lead.
            label_scale: Adds a margin of this many times the difference of labels.
            gamma: The exponent of ``focal``.
        """
        self._rows = {
            "scores": scores,
            "labels": tf.cast(labels, scores.dtype),
            "weights": tf.zeros([0], scores.dtype) if weights is None else tf.cast(weights, scores.dtype),
            "parameters": tf.constant([temperature, margin, label_scale, gamma], tf.float64),
            "kind": kind,
            "weighted": weights is not None,
        }
        self.bins, self._order = load_ops().hvdrec_pairwise_bins(**self._rows)

    def moments(self, gathered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """This rank's part of the moments.

        Args:
            gathered: float64 [G, 4], the bins of all ranks.

        Returns:
            All bins, float64 [E, 4], each once; empty if the loss is cheaper from the rows themselves or
            can't be computed from bins. And float64 [E, M], to be summed over the ranks.
        """
        return load_ops().hvdrec_pairwise_moments(
            bins=self.bins, order=self._order, gathered=gathered, **self._rows
        )

    def loss(self, bins: tf.Tensor, moments: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The loss over the rows of all ranks.

        Args:
            bins: float64 [E, 4], all bins.
            moments: float64 [E, M], the sum over the ranks.

        Returns:
            The loss (a scalar), its gradient with respect to this rank's scores ([B]), and the number of
            pairs (float64 scalar).
        """
        return load_ops().hvdrec_pairwise_over_bins(
            bins=self.bins, order=self._order, all=bins, moments=moments, **self._rows
        )
