"""CMBF: cross-modal-based fusion of images and text (Chen et al., Sensors 2021)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.config.models.modalities import GENERAL, IMAGE, TEXT
from hvdrec.features.plan import FeaturePlan, Group
from hvdrec.layers.attention.bert import BertEncoder, BertShape
from hvdrec.layers.attention.cross_modal import CrossModalEncoder, CrossModalShape
from hvdrec.layers.attention.token_encoding import TokenEncoding, token_kinds
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.variables import VariableStore
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs, one_width
from hvdrec.models.modalities import (
    FeatureTokens,
    OtherFeatures,
    Projection,
    TextTokens,
    Tokens,
)

_STDDEV = 0.02


class CrossModalFusion(tf.Module):
    """The fusion of the groups ``image``, ``general``, ``text`` and ``other``.

    Images, and general features with texts, go through separate transformers, and if both exist through
    cross-attention layers. The output concatenates the mean over the images, each general feature, the mean
    over each text, and the other features.

    Attributes:
        outputs: The output columns.
    """

    def __init__(self, plan: FeaturePlan, store: VariableStore, config: Any, l2: float) -> None:
        """Builds the layers.

        Args:
            plan: The feature plan with the groups.
            store: Creates the variables.
            config: The `CMBFTower` message.
            l2: `l2_regularization` of `other_feature_dnn`; EasyRec excludes all other kernels.

        Raises:
            ConfigError: Features for the same kind of tokens have different widths.
        """
        super().__init__()
        groups = plan.groups
        self._images = _Images(store, config, groups[IMAGE]) if IMAGE in groups else None
        self._words: _Words | None = None
        if GENERAL in groups or TEXT in groups:
            self._words = _Words(store, config, groups.get(GENERAL), groups.get(TEXT))
        self._cross: CrossModalEncoder | None = None
        widths = [part.outputs if part is not None else 0 for part in (self._images, self._words)]
        if self._images is not None and self._words is not None:
            shape = CrossModalShape(
                config.cross_modal_layer_num,
                config.multi_head_num,
                (config.image_cross_head_size, config.text_cross_head_size),
                config.hidden_dropout_prob,
                config.attention_probs_dropout_prob,
            )
            self._cross = CrossModalEncoder(store, shape, (widths[0], widths[1]))
            widths = self._cross.outputs
        self._others = OtherFeatures(plan, store, config, l2)
        parts = self._words.parts if self._words is not None else 0
        self.outputs = widths[0] + parts * widths[1] + self._others.outputs

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """float32 [B, outputs]."""
        images = self._images(inputs, run) if self._images is not None else None
        words = self._words(inputs, run) if self._words is not None else None
        if self._cross is not None and images is not None and words is not None:
            seen = words[0].seen
            images, values = self._cross(images, words[0].values, run, seen)
            words = Tokens(values, seen), words[1]
        found = [tf.reduce_mean(images, axis=1)] if images is not None else []
        if words is not None and self._words is not None:
            found.append(self._words.side_by_side(*words))
        found += self._others(inputs, run)
        return found[0] if len(found) == 1 else tf.concat(found, axis=1)


class _Images(tf.Module):
    """Tokens of images, and their transformer.

    A token is an image, a patch of the only image, or, if it isn't cut, a number of its vector.

    Attributes:
        outputs: Columns of a token.
    """

    def __init__(self, store: VariableStore, config: Any, group: Group) -> None:
        super().__init__()
        layers, alone = config.image_self_attention_layer_num, len(group.widths) == 1
        heads = config.multi_head_num
        hidden = heads * config.image_cross_head_size
        if layers:
            hidden = config.image_head_size * config.image_multi_head_num
        self.outputs = hidden
        patches = config.image_feature_patch_num if layers and alone else 1
        self._numbers: Projection | None = None
        self._tokens: FeatureTokens | None = None
        if layers and alone and patches == 1:
            width = one_width(group)
            self._numbers = Projection(store, "img_projection", width, config.image_feature_dim or width)
            self._map = store.create("img_map_matrix", (1, self._numbers.outputs, hidden))
        else:
            self._tokens = FeatureTokens(store, "img_projection", group, hidden, patches)
        self._encoder = _encoder(store, "image_self_attention", config, hidden, layers)

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """float32 [B, F, outputs]."""
        if self._tokens is not None:
            tokens = self._tokens(inputs, run)
        else:
            assert self._numbers is not None
            tokens = self._numbers(inputs.concat(IMAGE), run)[:, :, tf.newaxis] * self._map
        return self._encoder(tokens, run)


class _Words(tf.Module):
    """Tokens of general features and texts, and their transformer.

    Attributes:
        outputs: Columns of a token.
        parts: The number of vectors of a token's width in `side_by_side`.
    """

    def __init__(self, store: VariableStore, config: Any, general: Group | None, text: Group | None) -> None:
        super().__init__()
        hidden = self.outputs = config.text_head_size * config.text_multi_head_num
        self._general = FeatureTokens(store, "txt_projection", general, hidden) if general else None
        self._texts: TextTokens | None = None
        self._encodings: list[TokenEncoding] = []
        if text is not None:
            count = len(text.sequences)
            self._texts = TextTokens(store, text.sequences, hidden)
            kinds = token_kinds(store, count, hidden) if config.use_token_type else None
            places = config.max_position_embeddings if config.use_position_embeddings else 0
            for i in range(count):
                name = f"position_embeddings_{i}"
                self._encodings.append(
                    TokenEncoding(
                        store,
                        f"text_{i}",
                        hidden,
                        places=(name, places) if places else None,
                        kind=(kinds, i) if kinds is not None else None,
                        dropout=config.text_seq_emb_dropout_prob,
                    )
                )
        self.parts = (self._general.count if self._general else 0) + len(self._encodings)
        layers = config.text_self_attention_layer_num
        self._encoder = _encoder(store, "text_self_attention", config, hidden, layers)

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tuple[Tokens, list[tf.Tensor]]:
        """All tokens, and the length of each text in them, padding included (int32 scalars)."""
        values, seen, lengths = [], [], []
        if self._general is not None:
            general = self._general(inputs, run)
            values.append(general)
            seen.append(tf.ones(tf.shape(general)[:2], tf.bool))
        if self._texts is not None:
            for text, encoding in zip(self._texts(inputs, run), self._encodings, strict=True):
                values.append(encoding(text.values, run))
                seen.append(text.seen)
                lengths.append(tf.shape(text.seen)[1])
        whole, may_be_seen = tf.concat(values, axis=1), tf.concat(seen, axis=1)
        return Tokens(self._encoder(whole, run, may_be_seen), may_be_seen), lengths

    def side_by_side(self, tokens: Tokens, lengths: list[tf.Tensor]) -> tf.Tensor:
        """Each general feature and the mean over each text: float32 [B, parts * columns]."""
        begin = self._general.count if self._general is not None else 0
        width = tokens.values.shape[2]
        found = [tf.reshape(tokens.values[:, :begin], [-1, begin * width])] if begin else []
        for length in lengths:
            values, seen = (x[:, begin : begin + length] for x in tokens)
            weights = tf.cast(seen, tf.float32)[:, :, tf.newaxis]
            found.append(tf.reduce_sum(values * weights, axis=1) / tf.reduce_sum(weights, axis=1))
            begin += length
        return tf.ensure_shape(tf.concat(found, axis=1), [None, self.parts * width])


def _encoder(store: VariableStore, name: str, config: Any, hidden: int, layers: int) -> BertEncoder:
    return BertEncoder(
        store,
        name,
        BertShape(
            hidden,
            layers,
            # EasyRec's heads: this number is used here too, regardless of image_multi_head_num and
            # text_multi_head_num.
            config.multi_head_num,
            4 * hidden,
            "gelu",
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
            _STDDEV,
        ),
    )


class CMBF(RankModel):
    """`final_dnn` over the fusion of images, general features, texts and other features."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        self.fusion = CrossModalFusion(self.plan, self.store, self.config.config, self.l2)
        self.dnn = DNN(self.store, "final_dnn", self.config.final_dnn, self.fusion.outputs, self.l2)
        self.output = Dense(self.store, "output", self.dnn.outputs, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        return self.output(self.dnn(self.fusion(inputs, run), run), run)
