"""The layers that a config can name, by EasyRec's `class_name`."""

from __future__ import annotations

from hvdrec.config.layers.batch_norm import BATCH_NORMALIZATION
from hvdrec.config.layers.cross import CROSS
from hvdrec.config.layers.dense import DENSE
from hvdrec.config.layers.fm import FM
from hvdrec.config.layers.highway import HIGHWAY
from hvdrec.config.layers.mlp import MLP
from hvdrec.config.layers.spec import LayerSpec

SPECS: dict[str, LayerSpec] = {
    spec.class_name: spec for spec in (MLP, CROSS, FM, HIGHWAY, DENSE, BATCH_NORMALIZATION)
}
