"""Model classes by the name `model_class` has in a config."""

from __future__ import annotations

from hvdrec.errors import ConfigError
from hvdrec.models.base import ModelBuild, RankModel
from hvdrec.models.co_metric_learning_i2i import CoMetricLearningI2I
from hvdrec.models.dcn import DCN
from hvdrec.models.deepfm import DeepFM
from hvdrec.models.dlrm import DLRM
from hvdrec.models.dropoutnet import DropoutNet
from hvdrec.models.fm import FM
from hvdrec.models.multi_tower import MultiTower
from hvdrec.models.wide_and_deep import WideAndDeep

MODELS: dict[str, type[RankModel]] = {
    "CoMetricLearningI2I": CoMetricLearningI2I,
    "DCN": DCN,
    "DLRM": DLRM,
    "DeepFM": DeepFM,
    "DropoutNet": DropoutNet,
    "FM": FM,
    "MultiTower": MultiTower,
    "WideAndDeep": WideAndDeep,
}


def build_model(build: ModelBuild) -> RankModel:
    """Builds the model that `model_config` describes.

    Raises:
        ConfigError: There is no such model_class, or its block doesn't fit.
    """
    name = build.config.model_class
    if name not in MODELS:
        raise ConfigError(
            f"model_config.model_class: {name!r} is not supported yet; there are {', '.join(sorted(MODELS))}"
        )
    return MODELS[name](build)
