"""UNITER: universal image-text representation learning (Chen et al., ECCV 2020)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from hvdrec.config.models.modalities import GENERAL, IMAGE, TEXT
from hvdrec.features.plan import FeaturePlan
from hvdrec.layers.attention.bert import BertEncoder, BertShape
from hvdrec.layers.attention.token_encoding import TokenEncoding, token_kinds
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.feed_forward.dense import Dense
from hvdrec.layers.feed_forward.dnn import DNN
from hvdrec.layers.variables import VariableStore
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.inputs import ModelInputs
from hvdrec.models.modalities import FeatureTokens, OtherFeatures, TextTokens, Tokens


class UniversalTransformer(tf.Module):
    """A transformer over a special token, images, general features and the words of texts.

    The output is the result for the special token, concatenated with the other features.

    Attributes:
        outputs: The output columns.
    """

    def __init__(self, plan: FeaturePlan, store: VariableStore, config: Any, l2: float) -> None:
        """Builds the layers.

        Args:
            plan: The feature plan with the groups.
            store: Creates the variables.
            config: The `UniterTower` message.
            l2: `l2_regularization` of `other_feature_dnn`; EasyRec excludes all other kernels.

        Raises:
            ConfigError: Features for the same kind of tokens have different widths.
        """
        super().__init__()
        groups, hidden = plan.groups, config.hidden_size
        image, general = groups.get(IMAGE), groups.get(GENERAL)
        sequences = groups[TEXT].sequences if TEXT in groups else ()
        self._images = FeatureTokens(store, "img_projection", image, hidden) if image else None
        self._general = FeatureTokens(store, "txt_projection", general, hidden) if general else None
        self._texts = TextTokens(store, sequences, hidden)
        # The kinds of tokens, by the names of their position vectors; general features have no positions.
        names = ["img_position_embeddings"] if image else []
        names += [""] if general else []
        names += [f"txt_position_embeddings_{i}" for i in range(len(sequences))]
        several = len(names) > 1 or (image is not None and len(image.widths) > 1)
        kinds = token_kinds(store, len(names), hidden) if several else None
        places = config.max_position_embeddings if config.use_position_embeddings else 0
        self._encodings = [
            TokenEncoding(
                store,
                f"tokens_{i}",
                hidden,
                places=(name, places) if name and places else None,
                kind=(kinds, i) if kinds is not None else None,
                dropout=config.hidden_dropout_prob,
            )
            for i, name in enumerate(names)
        ]
        self._others = OtherFeatures(plan, store, config, l2)
        self.outputs = self._others.outputs
        if names:
            self._own = store.create("cls_emb", (1, 1, hidden))
            self._encoder = _encoder(store, config)
            self.outputs += hidden

    def __call__(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """float32 [B, outputs]."""
        found = [self._fused(inputs, run)] if self._encodings else []
        found += self._others(inputs, run)
        return found[0] if len(found) == 1 else tf.concat(found, axis=1)

    def _fused(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The transformer's result for the special token, float32 [B, hidden]."""
        plain = [part(inputs, run) for part in (self._images, self._general) if part is not None]
        kinds = [Tokens(values, tf.ones(tf.shape(values)[:2], tf.bool)) for values in plain]
        kinds += self._texts(inputs, run)
        encoded = [e(kind.values, run) for e, kind in zip(self._encodings, kinds, strict=True)]
        own = tf.tile(self._own, [inputs.rows, 1, 1])
        seen = [tf.ones([inputs.rows, 1], tf.bool), *(kind.seen for kind in kinds)]
        tokens = self._encoder(tf.concat([own, *encoded], axis=1), run, tf.concat(seen, axis=1))
        return tokens[:, 0]


def _encoder(store: VariableStore, config: Any) -> BertEncoder:
    return BertEncoder(
        store,
        "uniter",
        BertShape(
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_act,
            config.hidden_dropout_prob,
            config.attention_probs_dropout_prob,
            config.initializer_range,
        ),
    )


class Uniter(RankModel):
    """`final_dnn` over the transformer's special token and the other features."""

    def __init__(self, build: ModelBuild) -> None:
        """Builds the layers."""
        super().__init__(build)
        self.transformer = UniversalTransformer(self.plan, self.store, self.config.config, self.l2)
        self.dnn = DNN(self.store, "final_dnn", self.config.final_dnn, self.transformer.outputs, self.l2)
        self.output = Dense(self.store, "output", self.dnn.outputs, self.num_class)

    def logits(self, inputs: ModelInputs, run: ForwardContext) -> tf.Tensor:
        """The raw outputs, float32 [B, num_class]."""
        return self.output(self.dnn(self.transformer(inputs, run), run), run)
