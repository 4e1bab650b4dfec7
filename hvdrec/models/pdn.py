"""PDN: a path-based deep network for candidate generation (Li et al., SIGIR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from hvdrec.config.protos import simi_pb2
from hvdrec.layers import initializers
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dnn import DNN, EmbeddingDNN
from hvdrec.layers.jagged import PaddedOnce
from hvdrec.layers.variables import VariableStore
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs

_LEAST = 1e-8


class PDN(RankModel):
    """The sum over paths from the user through each item of the history to the target item.

    The weight of a path is the product of the user's interest in its item (the trigger network) and the
    item's similarity to the target (the similarity network), both as powers of e. A direct path from user and
    item embeddings, and a bias, are optional. The probability for the sum x is ``1 - exp(-x)``.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the networks."""
        super().__init__(build)
        config, width = self.config, self.group_width
        self.paths = {name: self.plan.groups[name].sequences for name in ("u2i_seq", "i_seq", "i2i_seq")}
        own = {name: sum(f.width for f in features) for name, features in self.paths.items()}
        self.user = self._dnn("user_dnn", width("user"))
        self.item = self._dnn("item_dnn", width("item"))
        self.behaviour = self._dnn("u2i_dnn", own["u2i_seq"] + own["i_seq"])
        self.trigger = self._number("trigger_dnn", self.behaviour.outputs)
        self.side = self._dnn("i2i_dnn", own["i_seq"])
        crossed = 2 * self.side.outputs + own["i2i_seq"] + self.item.outputs
        self.similarity = self._number("sim_dnn", crossed)
        self.direct: DirectPath | None = None
        if config.HasField("direct_user_dnn") and config.HasField("direct_item_dnn"):
            self.direct = DirectPath(self.store, config, (width("user"), width("item")), self.l2)
        self.bias: EmbeddingDNN | None = None
        if config.HasField("bias_dnn"):
            self.bias = self._number("bias_dnn", width("bias"))

    def _dnn(self, name: str, width: int) -> DNN:
        return DNN(self.store, name, getattr(self.config, name), width, self.l2)

    def _number(self, name: str, width: int) -> EmbeddingDNN:
        return EmbeddingDNN(self.store, name, getattr(self.config, name), width, self.l2)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The logarithm of the probability, float32 [B, 1]."""
        return self.forward(inputs, run)["logits"]

    def forward(self, inputs: ModelInputs, run: ForwardContext) -> dict[str, tf.Tensor]:
        """``logits`` and ``probs``, float32 [B, 1], and the paths' values for the predictions."""
        user, item = inputs.concat("user"), inputs.concat("item")
        found = inputs.sequences(self.paths.values())
        of_user, items, pairs = (PaddedOnce(each) for each in found)
        trigger = tf.exp(self._triggers(of_user, items, self.user(user, run), run))
        similar = tf.exp(self._similarities(items, pairs, self.item(item, run), run))
        real = items.real(trigger * similar)
        total = tf.math.unsorted_segment_sum(real, items.history.rows, items.history.count)
        outputs = {"trigger_out": items.rectangle(trigger), "sim_out": items.rectangle(similar)}
        if self.direct is not None:
            outputs["direct_user_embedding"], outputs["direct_item_embedding"], score = self.direct(
                user, item, run
            )
            total += tf.nn.softplus(score)
        if self.bias is not None:
            total += tf.nn.softplus(self.bias(inputs.concat("bias"), run))
        outputs["probs"] = 1.0 - tf.exp(-total)
        outputs["logits"] = tf.math.log(tf.clip_by_value(outputs["probs"], _LEAST, 1.0 - _LEAST))
        return outputs

    def _triggers(
        self, of_user: PaddedOnce, items: PaddedOnce, user: tf.Tensor, run: ForwardContext
    ) -> tf.Tensor:
        """The user's interest in each item, before exponentiation; float32 [E + B, 1]."""
        x = tf.concat([of_user.values, items.values], axis=1)
        x = self.behaviour(x, run, items.weights) + tf.gather(user, items.rows)
        return self.trigger(x, run, items.weights)

    def _similarities(
        self, items: PaddedOnce, pairs: PaddedOnce, item: tf.Tensor, run: ForwardContext
    ) -> tf.Tensor:
        """The similarity of each item to the target, before exponentiation; float32 [E + B, 1]."""
        side, target = self.side(items.values, run, items.weights), tf.gather(item, items.rows)
        crossed = side * target
        first = crossed if self.config.easyrec_similarity else side
        x = tf.concat([first, crossed, pairs.values, target], axis=1)
        return self.similarity(x, run, items.weights)

    def predictions(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """``probs`` [B]; ``trigger_out`` and ``sim_out``, text: the numbers of the positions, separated by
        ``;``.

        Rows are padded to the longest of the batch with the value of an empty position, as in EasyRec. With a
        direct path also its embeddings, ``direct_user_embedding`` and ``direct_item_embedding``.
        """
        texts = {name: _joined(outputs[name]) for name in ("trigger_out", "sim_out")}
        direct = {name: tensor for name, tensor in outputs.items() if name.startswith("direct_")}
        return {"probs": tf.squeeze(outputs["probs"], axis=1), **texts, **direct}


class DirectPath(tf.Module):
    """Embeddings of user and item, and their inner product."""

    def __init__(self, store: VariableStore, config: Any, widths: tuple[int, int], l2: float) -> None:
        """Builds the networks.

        Args:
            store: Creates the variables.
            config: The `PDN` message.
            widths: Columns of user and item.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        self._user = EmbeddingDNN(store, "direct_user_dnn", config.direct_user_dnn, widths[0], l2)
        self._item = EmbeddingDNN(store, "direct_item_dnn", config.direct_item_dnn, widths[1], l2)
        self._unit = config.simi_func == simi_pb2.COSINE
        self._scale: tuple[tf.Variable, tf.Variable] | None = None
        if config.scale_simi:
            self._scale = (
                store.create("direct_net/sim_w", (1,), initializers.ones),
                store.create("direct_net/sim_b", (1,), initializers.zeros),
            )

    def __call__(
        self, user: tf.Tensor, item: tf.Tensor, run: ForwardContext
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The embeddings, float32 [B, D], of norm 1 with COSINE, and their score [B, 1]."""
        both = self._user(user, run), self._item(item, run)
        if self._unit:
            both = tf.math.l2_normalize(both[0], axis=1), tf.math.l2_normalize(both[1], axis=1)
        score = tf.reduce_sum(both[0] * both[1], axis=1, keepdims=True)
        if self._scale is not None:
            score = score * tf.abs(self._scale[0]) + self._scale[1]
        return *both, score


def _joined(numbers: tf.Tensor) -> tf.Tensor:
    """float32 [B, T, 1] as text [B]."""
    texts = tf.strings.as_string(tf.squeeze(numbers, axis=2), precision=4, shortest=True)
    return tf.strings.reduce_join(texts, axis=1, separator=";")
