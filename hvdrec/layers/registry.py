"""Builds the layers that a config can name, by EasyRec's `class_name`."""

from __future__ import annotations

from collections.abc import Callable

from hvdrec.layers import batch_norm
from hvdrec.layers.feed_forward import dense, highway, mlp
from hvdrec.layers.interaction import cross, fm
from hvdrec.layers.layer import Layer, LayerBuild

#: `hvdrec.config.layers.registry` has the parameters of each.
BUILDERS: dict[str, Callable[[LayerBuild], Layer]] = {
    "MLP": mlp.build,
    "Cross": cross.build,
    "FM": fm.build,
    "Highway": highway.build,
    "Dense": dense.build,
    "BatchNormalization": batch_norm.build,
}
