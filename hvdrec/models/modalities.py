"""Feature groups as tokens of a transformer: images, general features and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from hvdrec.config.models.modalities import OTHER
from hvdrec.features.plan import FeaturePlan, Group, GroupFeature
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.jagged import Jagged
from hvdrec.layers.variables import VariableStore
from hvdrec.models.inputs import ModelInputs, one_width


class Tokens(NamedTuple):
    """Tokens of a batch.

    Attributes:
        values: float32 [B, T, columns].
        seen: bool [B, T], False for the padding of a text.
    """

    values: tf.Tensor
    seen: tf.Tensor


class Projection(tf.Module):
    """Projects tokens to a width with a dense layer, which is omitted if they already have it.

    Attributes:
        inputs: Columns of a token.
        outputs: Columns of the result.
    """

    def __init__(self, store: VariableStore, name: str, inputs: int, outputs: int) -> None:
        """Creates ``<name>/{kernel,bias}``, if needed."""
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self._dense = Dense(store, name, inputs, outputs) if inputs != outputs else None

    def __call__(self, x: tf.Tensor, run: ForwardContext) -> tf.Tensor:
        """Maps float32 [N, inputs] to [N, outputs]."""
        return x if self._dense is None else self._dense(x, run)


class FeatureTokens(tf.Module):
    """A token per feature of a group, all of the same width.

    Attributes:
        count: The number of tokens per row.
    """

    def __init__(self, store: VariableStore, name: str, group: Group, hidden: int, parts: int = 1) -> None:
        """Creates the projection ``<name>``, if needed.

        Args:
            store: Creates the variables.
            name: The projection's name.
            group: The features.
            hidden: Columns of a token.
            parts: Tokens that a feature is cut into.

        Raises:
            ConfigError: The features have different widths.
        """
        super().__init__()
        self._group = group.name
        self.count = len(group.widths) * parts
        self._project = Projection(store, name, one_width(group) // parts, hidden)

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """float32 [B, count, hidden]."""
        flat = tf.reshape(inputs.concat(self._group), [-1, self._project.inputs])
        return tf.reshape(self._project(flat, run), [-1, self.count, self._project.outputs])


class TextTokens(tf.Module):
    """The tokens of each text of group ``text``."""

    def __init__(self, store: VariableStore, features: Sequence[GroupFeature], hidden: int) -> None:
        """Creates the projections ``txt_seq_projection_<i>``, if needed.

        Args:
            store: Creates the variables.
            features: The texts.
            hidden: Columns of a token.
        """
        super().__init__()
        self._texts = [
            (feature, Projection(store, f"txt_seq_projection_{i}", feature.width, hidden))
            for i, feature in enumerate(features)
        ]

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> list[Tokens]:
        """The tokens of each text; a row without tokens has one of zeros."""
        found = []
        for feature, project in self._texts:
            text = inputs.sequence([feature])
            lengths = tf.maximum(text.lengths, 1)
            # The pad gives a batch without rows a maximum.
            longest = tf.reduce_max(tf.pad(lengths, [[0, 1]], constant_values=1))
            values = Jagged(project(text.values, run), text.rows, text.lengths).padded(longest)
            found.append(Tokens(values, tf.sequence_mask(lengths, longest)))
        return found


class OtherFeatures(tf.Module):
    """Group ``other``, which isn't represented by tokens, through `other_feature_dnn`.

    Attributes:
        outputs: Its columns; 0 without the group.
    """

    def __init__(self, plan: FeaturePlan, store: VariableStore, config: Any, l2: float) -> None:
        """Creates ``other_dnn``, if it is set.

        Args:
            plan: The feature plan.
            store: Creates the variables.
            config: The message with `other_feature_dnn`.
            l2: `l2_regularization` of the kernels.
        """
        super().__init__()
        group = plan.groups.get(OTHER)
        self.outputs = group.width if group is not None else 0
        self._dnn: DNN | None = None
        if group is not None and config.HasField("other_feature_dnn"):
            self._dnn = DNN(store, "other_dnn", config.other_feature_dnn, self.outputs, l2)
            self.outputs = self._dnn.outputs

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> list[tf.Tensor]:
        """Nothing, or one float32 [B, outputs]."""
        if not self.outputs:
            return []
        x = inputs.concat(OTHER)
        return [x if self._dnn is None else self._dnn(x, run)]
