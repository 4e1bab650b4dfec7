"""Random augmentation of sequences, for contrastive learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from hvdrec.config.layers.shapes import sequence
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Layer, LayerBuild, Widths

_Change = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class SeqAugment(Layer):
    """Crops, masks or reorders each row (Xie et al. 2022, CL4SRec, section 3.2)."""

    outputs: Widths

    def __init__(self, build: LayerBuild, mask_shape: Callable[[int], tuple[int, ...]]) -> None:
        """Creates ``<name>/mask``.

        Args:
            build: The build arguments.
            mask_shape: Returns the variable's shape for the columns of an element.
        """
        super().__init__()
        config = build.config
        width, _ = sequence(build.inputs)
        assert isinstance(build.inputs, list)
        self.outputs, self._scope = build.inputs[:2], build.scope
        # A variable scope of only the block, outside the backbone's.
        self._mask = build.store.create(f"{build.name}/mask", mask_shape(width))
        self._crop_rate, self._mask_rate = config.crop_rate, config.mask_rate
        self._reorder_rate = config.reorder_rate
        wanted: list[tuple[bool, _Change]] = [
            (self._crop_rate < 1.0, self._crop),
            (self._mask_rate > 0.0, self._masked),
            (self._reorder_rate > 0.0, self._reorder),
        ]
        self._changes = [change for is_wanted, change in wanted if is_wanted]

    def __call__(self, inputs: Sequence[tf.Tensor], run: ForwardContext) -> list[tf.Tensor]:
        """Maps elements [B, T, D] and lengths [B] to elements and lengths."""
        elements, lengths = inputs[0], tf.cast(inputs[1], tf.int32)
        if not (run.training and self._changes):
            return [elements, lengths]
        seeds = tf.random.experimental.stateless_split(run.seed_for(self._scope), len(self._changes) + 1)
        drawn = tf.random.stateless_uniform(
            tf.shape(lengths), seeds[0], 0, len(self._changes), dtype=tf.int32
        )
        found, kept = elements, lengths
        for number, change in enumerate(self._changes):
            changed, length = change(elements, lengths, seeds[number + 1])
            # A row without elements doesn't change.
            chosen = tf.equal(drawn, number) & (lengths > 0)
            found = tf.where(chosen[:, None, None], changed, found)
            kept = tf.where(chosen, length, kept)
        return [found, kept]

    def _crop(self, elements: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A range of elements, moved to the front."""
        count = _share(lengths, self._crop_rate)
        first = _first(lengths, count, seed)
        places = tf.range(tf.shape(elements)[1])[None, :]
        from_places = tf.minimum(places + first[:, None], tf.shape(elements)[1] - 1)
        moved = tf.gather(elements, from_places, batch_dims=1)
        return tf.where((places < count[:, None])[:, :, None], moved, 0.0), count

    def _masked(
        self, elements: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Replaces elements by the learnt vector."""
        order = tf.random.stateless_uniform(tf.shape(elements)[:2], seed)
        present = tf.sequence_mask(lengths, tf.shape(elements)[1])
        # Padding sorts last, so the first entries of a row are its elements.
        rank = tf.argsort(tf.argsort(tf.where(present, order, 2.0), axis=1), axis=1)
        chosen = rank < _share(lengths, self._mask_rate)[:, None]
        return tf.where(chosen[:, :, None], tf.reshape(self._mask, [1, 1, -1]), elements), lengths

    def _reorder(
        self, elements: tf.Tensor, lengths: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Shuffles a range of elements."""
        count = _share(lengths, self._reorder_rate)
        seeds = tf.random.experimental.stateless_split(seed, 2)
        first = _first(lengths, count, seeds[0])
        places = tf.range(tf.shape(elements)[1])[None, :]
        inside = (places >= first[:, None]) & (places < (first + count)[:, None])
        drawn = tf.random.stateless_uniform(tf.shape(elements)[:2], seeds[1])
        # Keys between those of the range's two neighbours keep the range in place.
        keys = tf.where(inside, tf.cast(first, tf.float32)[:, None] - 0.75 + 0.5 * drawn, 0.0)
        keys += tf.where(inside, 0.0, tf.cast(places, tf.float32))
        order = tf.argsort(keys, axis=1, stable=True)
        return tf.gather(elements, order, batch_dims=1), lengths


def _share(lengths: tf.Tensor, rate: float) -> tf.Tensor:
    """The fraction of the lengths, rounded down."""
    return tf.cast(tf.floor(tf.cast(lengths, tf.float32) * rate), tf.int32)


def _first(lengths: tf.Tensor, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """A random start of a range of elements, never the last possible one, as in EasyRec."""
    room = tf.maximum(lengths - count, 1)
    drawn = tf.random.stateless_uniform(tf.shape(lengths), seed)
    return tf.minimum(tf.cast(drawn * tf.cast(room, tf.float32), tf.int32), room - 1)


def build(build: LayerBuild) -> SeqAugment:
    """Builds SeqAugment."""
    return SeqAugment(build, lambda width: (1, width))


def build_ops(build: LayerBuild) -> SeqAugment:
    """Builds SeqAugmentOps, where the variable has one axis."""
    return SeqAugment(build, lambda width: (width,))
