"""MultiTowerRecall: a tower for users, a tower for items, and a DNN over both instead of a similarity."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs, paired_rows


class MultiTowerRecall(RankModel):
    """Predicts whether a row's user and item match; its items can't be searched.

    With a negative sampler, the towers and the DNN also process each user with all sampled items. As in
    EasyRec, only the row's own item has a label: the others only affect the batch norms.
    """

    def __init__(self, build: ModelBuild) -> None:
        """Builds the towers.

        Raises:
            ConfigError: A group is missing.
        """
        super().__init__(build)
        config, store = self.config, self.store
        self._user = DNN(store, "user_dnn", config.user_tower.dnn, self.group_width("user"), self.l2)
        self._item = DNN(store, "item_dnn", config.item_tower.dnn, self.group_width("item"), self.l2)
        both = self._user.outputs + self._item.outputs
        self._final = DNN(store, "final_dnn", config.final_dnn, both, self.l2)
        self._output = Dense(store, "output", self._final.outputs, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """Logits, float32 [B, num_class]."""
        own, rows = inputs.concat("item"), inputs.rows
        if inputs.sampled is None:
            users, items = self._user(inputs.concat("user"), run), self._item(own, run)
            return self._output(self._final(tf.concat([users, items], axis=1), run), run)
        sampled = inputs.sampled.concat("item")
        each = 1 + tf.shape(sampled)[0]
        users = self._user(inputs.pairs("user"), run)
        # An item of all rows goes through its tower once, and counts as often as there are rows.
        counts = tf.concat([tf.ones([rows]), tf.fill([each - 1], tf.cast(rows, tf.float32))], axis=0)
        items = self._item(tf.concat([own, sampled], axis=0), run, counts)
        paired = paired_rows(items[:rows], items[rows:])
        final = self._final(tf.concat([users, paired], axis=1), run)
        return self._output(tf.gather(final, tf.range(rows) * each), run)
