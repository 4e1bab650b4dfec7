"""Entire-space multi-task model (Ma et al., SIGIR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from hvdrec.config.losses import ERROR_LOSSES
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.multi_task.tower import TaskTower
from hvdrec.losses.reduction import weighted_mean
from hvdrec.losses.terms import LossTerm, TermBatch
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.inputs import ModelInputs

GROUP = "all"


class ESMM(Model):
    """A DNN per group, concatenated as the input of a tower for clicks and one for conversions.

    Conversions are learnt over all rows through the product of both towers, with the product of both labels.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        config = self.config
        self.dnns = [
            (group.input, DNN(self.store, group.input, group.dnn, self.group_width(group.input), self.l2))
            for group in config.groups
        ]
        width = sum(dnn.outputs for _, dnn in self.dnns) if self.dnns else self.group_width(GROUP)
        self.towers = [self._tower(tower, width) for tower in (config.cvr_tower, config.ctr_tower)]
        self.cvr, self.ctr, self.product, _ = self.heads
        #: Whether the conversion tower predicts an amount instead of a probability.
        self.amounts = self.cvr.losses[0].kind in ERROR_LOSSES

    def _tower(self, config: Any, width: int) -> TaskTower:
        names = (config.tower_name, f"{config.tower_name}/dnn_output")
        return TaskTower(self.store, config, names, width, self.l2)

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits_<tower>`` (float32 [B, 1]) of both towers, and of the product.

        ``logits_ctcvr`` (float32 [B, 1]) is the logit of p_ctr p_cvr; for amounts it is the product of
        p_ctr and the amount itself.
        """
        if self.dnns:
            x = tf.concat([dnn(inputs.concat(name), run) for name, dnn in self.dnns], axis=1)
        else:
            x = inputs.concat(GROUP)
        cvr, ctr = (tower(x, run) for tower in self.towers)
        both = tf.sigmoid(ctr) * cvr if self.amounts else product_logit(ctr, cvr)
        names = (self.cvr.suffix, self.ctr.suffix, self.product.suffix)
        return {f"logits{name}": logits for name, logits in zip(names, (cvr, ctr, both), strict=True)}

    def loss_terms(self) -> Sequence[LossTerm]:
        """Both losses, in EasyRec's order: cross entropies summed over rows, squared errors averaged."""
        kind = "l2" if self.amounts else "cross_entropy"
        return (
            LossTerm(
                f"weighted_{kind}_loss_{self.cvr.name}",
                self._squared_error if self.amounts else self._product_entropy,
                summed=not self.amounts,
            ),
            LossTerm(f"weighted_cross_entropy_loss_{self.ctr.name}", self._click_entropy, summed=True),
        )

    def _click_entropy(self, batch: TermBatch) -> tf.Tensor:
        rows = batch.heads[self.ctr.name]
        return self.ctr.weight * _entropy(rows.labels, rows.logits)

    def _product_entropy(self, batch: TermBatch) -> tf.Tensor:
        rows = batch.heads[self.product.name]
        return self.cvr.weight * _entropy(rows.labels, rows.logits)

    def _squared_error(self, batch: TermBatch) -> tf.Tensor:
        rows = batch.heads[self.product.name]
        return self.cvr.weight * weighted_mean(tf.square(rows.labels - rows.logits), rows.weights)


def _entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


def product_logit(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The logit of sigmoid(a) sigmoid(b): exact even if the product is near 0 or 1, with correct gradients.

    1 - sigmoid(a) sigmoid(b) = sigmoid(-a) + sigmoid(a) sigmoid(-b), a sum of non-negative terms.
    """
    log = tf.math.log_sigmoid
    missing = _log_of_sum(log(-first), log(first) + log(-second))
    return log(first) + log(second) - missing


def _log_of_sum(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """log(exp(a) + exp(b))."""
    return tf.maximum(a, b) + tf.math.softplus(-tf.abs(a - b))
