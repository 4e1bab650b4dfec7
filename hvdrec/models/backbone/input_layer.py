"""A backbone's input layer: a feature group in the selected form, with normalisation and dropout."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.layers.batch_norm import BatchNorm
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer_norm import CONTRIB_EPSILON, LayerNorm
from hvdrec.layers.tensors import stacked
from hvdrec.layers.variables import VariableStore
from hvdrec.models.inputs import ModelInputs, group_of


class InputLayer(tf.Module):
    """An `InputLayer` message over a feature group.

    The group is returned as one tensor [B, columns], as a list of features, as [B, F, D], or as a sequence.
    Batch or layer norm applies to all columns together, and if features are requested also to each feature,
    with separate variables. `dropout_rate` sets single numbers to 0, and `feature_dropout_rate` whole
    features, for all rows of the batch.
    """

    def __init__(self, store: VariableStore, group: str, config: Any, widths: tuple[int, ...]) -> None:
        """Creates the variables of the normalisation.

        Args:
            store: Creates the variables.
            group: The group's name.
            config: The message.
            widths: The widths of its features.
        """
        super().__init__()
        self._group, self._config = group, config
        self._listed = bool(
            config.only_output_feature_list
            or config.only_output_3d_tensor
            or config.output_2d_tensor_and_feature_list
        )
        self._whole: Any = None
        self._each: list[Any] = []
        #: EasyRec drops features instead of normalising the whole.
        self._drops = 0.0 < config.feature_dropout_rate < 1.0
        apart = self._listed or self._drops
        if config.do_batch_norm:
            names = [_tf_layer(store, "batch_normalization") for _ in range(len(widths) + 1)]
            self._whole = BatchNorm(store, names[0], sum(widths))
            if apart:
                self._each = [BatchNorm(store, n, w) for n, w in zip(names[1:], widths, strict=True)]
        elif config.do_layer_norm:
            self._whole = LayerNorm(store, f"{group}_features", sum(widths), CONTRIB_EPSILON)
            if apart:
                self._each = [
                    LayerNorm(store, f"{group}f_{i}", width, CONTRIB_EPSILON)
                    for i, width in enumerate(widths)
                ]

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> Any:
        """The group's features, float32: [B, columns], or in the form of the config."""
        config = self._config
        if config.output_seq_and_normal_feature:
            return self._sequence(inputs)
        whole = inputs.concat(self._group)
        drops = self._drops and run.training
        features: list[tf.Tensor] = []
        if self._listed or drops:
            features = inputs.features(self._group)
            features = [f if not self._each else self._each[i](f, run) for i, f in enumerate(features)]
        if drops:
            features = self._drop_features(features, run)
            whole = tf.concat(features, axis=1)
        elif self._whole is not None and not config.only_output_feature_list:
            whole = self._whole(whole, run)
        if run.training and 0.0 < config.dropout_rate < 1.0:
            whole, features = self._drop_numbers(whole, features, run)
        if config.only_output_feature_list:
            return features
        if config.only_output_3d_tensor:
            return stacked(features)
        return [whole, features] if config.output_2d_tensor_and_feature_list else whole

    def _drop_features(self, features: list[tf.Tensor], run: ForwardContext) -> list[tf.Tensor]:
        rate = self._config.feature_dropout_rate
        seed = run.seed_for(f"input_{self._group}/feature_dropout")
        drawn = tf.random.stateless_uniform([len(features)], seed)
        masks = tf.unstack(tf.where(drawn >= rate, 1.0 / (1.0 - rate), 0.0), num=len(features))
        return [feature * mask for feature, mask in zip(features, masks, strict=True)]

    def _drop_numbers(
        self, whole: tf.Tensor, features: list[tf.Tensor], run: ForwardContext
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        def drop(x: tf.Tensor) -> tf.Tensor:
            seed = run.seed_for(f"input_{self._group}/dropout")
            return tf.nn.experimental.stateless_dropout(x, self._config.dropout_rate, seed=seed)

        return whole if self._drops else drop(whole), [drop(feature) for feature in features]

    def _sequence(self, inputs: ModelInputs) -> list[Any]:
        group = group_of(inputs.plan, self._group)
        normal = inputs.features(self._group) if group.features else []
        sequences = [inputs.sequence([feature]) for feature in group.sequences]
        longest = tf.reduce_max(tf.stack([tf.reduce_max(tf.pad(s.lengths, [[0, 1]])) for s in sequences]))
        padded = [s.padded(longest) for s in sequences]
        if not self._config.concat_seq_feature:
            return [padded, sequences[0].lengths, normal]
        target = tf.concat(normal, axis=1) if normal else None
        return [tf.concat(padded, axis=2), sequences[0].lengths, target]


def _tf_layer(store: VariableStore, base: str) -> str:
    """TensorFlow 1's name for an unnamed layer, with a counter separate from Keras's."""
    return store.automatic(f"tf.layers/{base}").removeprefix("tf.layers/")
