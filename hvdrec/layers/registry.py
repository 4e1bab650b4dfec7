"""Builds the layers that a config can name, by EasyRec's `class_name`."""

from __future__ import annotations

from collections.abc import Callable

from hvdrec.config.layers.registry import SPECS
from hvdrec.config.layers.shapes import ShapeError
from hvdrec.errors import ConfigError
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


def build_layer(class_name: str, build: LayerBuild) -> Layer:
    """Builds the layer `class_name`.

    Raises:
        ConfigError: Its inputs don't fit.
    """
    try:
        SPECS[class_name].outputs(build.config, build.inputs)
    except ShapeError as error:
        raise ConfigError(f"layer {build.scope}: {class_name} {error}") from None
    return BUILDERS[class_name](build)
