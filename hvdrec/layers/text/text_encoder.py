"""A transformer over the tokens of texts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from hvdrec.config.layers.text_encoder import vocabulary
from hvdrec.layers.attention.transformer_encoder import TransformerEncoder
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild

_HASHES = 2**63 - 1


class TextEncoder(Layer):
    """EasyRec's TextEncoder: the encoding of ``[CLS]`` before the tokens of some texts."""

    outputs: int

    def __init__(self, build: LayerBuild) -> None:
        """Creates the variables of TransformerEncoder, in ``transformer``.

        Raises:
            ValueError: Two tokens of the vocabulary have the same hash.
        """
        super().__init__()
        config = build.config
        self._separator, self._default = config.separator, config.default_token_id
        self._vocabulary = _Vocabulary(vocabulary(config.vocab_file)) if config.vocab_file else None
        size = len(self._vocabulary.ids) if self._vocabulary else config.transformer.vocab_size
        inner = config.transformer.changed(vocab_size=size, output_all_token_embeddings=False)
        self._size, self._longest = size, inner.max_position_embeddings
        self.outputs = inner.hidden_size
        self._encoder = TransformerEncoder(build.part("transformer", inner, [(None,), (None,)]))

    def __call__(self, inputs: Inputs, run: ForwardContext) -> tf.Tensor:
        """Maps texts, string [B], to float32 [B, hidden_size]."""
        texts = [inputs] if isinstance(inputs, tf.Tensor) else list(inputs or [])
        sep = self._separator
        parts: list[tf.Tensor | str] = [f"[CLS]{sep}"]
        for text in texts:
            parts += [text, f"{sep}[SEP]{sep}"]
        # Cut before padding: otherwise one long text would make all rows of the batch as long.
        tokens = tf.strings.split(tf.strings.join(parts), sep)[:, : self._longest].to_tensor("")
        if self._vocabulary is None:
            ids = tf.strings.to_hash_bucket_fast(tokens, self._size)
            return self._encoder([ids, tf.not_equal(tokens, "")], run)
        ids = self._vocabulary(tokens, self._default)
        return self._encoder([ids, tf.not_equal(ids, self._default)], run)


class _Vocabulary:
    """Ids by token, found by hash: unlike a lookup table it needs no initialization in exported models."""

    def __init__(self, tokens: list[str]) -> None:
        hashes = tf.strings.to_hash_bucket_fast(tf.constant(tokens), _HASHES).numpy()
        order = np.argsort(hashes, kind="stable")
        self.ids, self._hashes = order.astype(np.int32), hashes[order]
        if (self._hashes[1:] == self._hashes[:-1]).any():
            raise ValueError("two tokens of the vocabulary have the same hash")

    def __call__(self, tokens: tf.Tensor, otherwise: int) -> tf.Tensor:
        """The ids of tokens, int32 of their shape."""
        hashes = tf.strings.to_hash_bucket_fast(tokens, _HASHES)
        places = tf.searchsorted(tf.constant(self._hashes), tf.reshape(hashes, [-1]))
        places = tf.reshape(tf.minimum(places, len(self.ids) - 1), tf.shape(tokens))
        known = tf.equal(tf.gather(tf.constant(self._hashes), places), hashes)
        return tf.where(known, tf.gather(tf.constant(self.ids), places), otherwise)


def build(build: LayerBuild) -> TextEncoder:
    """Builds TextEncoder."""
    return TextEncoder(build)
