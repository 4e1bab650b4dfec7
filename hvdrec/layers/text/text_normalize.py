"""Normalized texts."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.config.layers import text_normalize as bits
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.layer import Inputs, Layer, LayerBuild, Widths
from hvdrec.ops.text.characters import replacements
from hvdrec.ops.text.normalize import Replacements, normalize


class TextNormalize(Layer):
    """Texts with characters replaced or removed."""

    outputs: Widths

    def __init__(self, build: LayerBuild) -> None:
        """Has no variables."""
        super().__init__()
        given = build.config.norm_parameter
        table = replacements(
            upper=bool(given & bits.LOWER_TO_UPPER),
            lower=bool(given & bits.UPPER_TO_LOWER),
            narrow=bool(given & bits.NARROW),
            simplified=bool(given & bits.SIMPLIFIED),
            filtered=bool(given & bits.FILTERED),
            without_spaces=build.config.remove_space,
        )
        self._by = Replacements(table, bool(given & bits.FILTERED), bool(given & bits.SPLIT))
        self.outputs = bits.TEXT_NORMALIZE.outputs(build.config, build.inputs)

    def __call__(self, inputs: Inputs, run: ForwardContext) -> Inputs:
        """Maps texts, string [B], to texts."""
        texts = [inputs] if isinstance(inputs, tf.Tensor) else list(inputs or [])
        found = [normalize(text, self._by, impl=run.text_impl) for text in texts]
        return found[0] if len(found) == 1 else found


def build(build: LayerBuild) -> TextNormalize:
    """Builds TextNormalize."""
    return TextNormalize(build)
