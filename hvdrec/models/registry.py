"""Model classes by the name `model_class` has in a config."""

from __future__ import annotations

from hvdrec.config.models.registry import spec_of
from hvdrec.models.autoint import AutoInt
from hvdrec.models.base import Model, ModelBuild
from hvdrec.models.cmbf import CMBF
from hvdrec.models.co_metric_learning_i2i import CoMetricLearningI2I
from hvdrec.models.dat import DAT
from hvdrec.models.dbmtl import DBMTL
from hvdrec.models.dcn import DCN
from hvdrec.models.deepfm import DeepFM
from hvdrec.models.dlrm import DLRM
from hvdrec.models.dropoutnet import DropoutNet
from hvdrec.models.dssm import DSSM
from hvdrec.models.dssm_senet import DSSM_SENet
from hvdrec.models.esmm import ESMM
from hvdrec.models.fm import FM
from hvdrec.models.match_model import MatchModel
from hvdrec.models.mind import MIND
from hvdrec.models.mmoe import MMoE
from hvdrec.models.multi_task_model import MultiTaskModel
from hvdrec.models.multi_tower import MultiTower
from hvdrec.models.multi_tower_bst import MultiTowerBST
from hvdrec.models.multi_tower_din import MultiTowerDIN
from hvdrec.models.multi_tower_recall import MultiTowerRecall
from hvdrec.models.pdn import PDN
from hvdrec.models.ple import PLE
from hvdrec.models.rank_model import RankModel
from hvdrec.models.rocket_launching import RocketLaunching
from hvdrec.models.simple_multi_task import SimpleMultiTask
from hvdrec.models.uniter import Uniter
from hvdrec.models.wide_and_deep import WideAndDeep

MODELS: dict[str, type[Model]] = {
    "AutoInt": AutoInt,
    "CMBF": CMBF,
    "CoMetricLearningI2I": CoMetricLearningI2I,
    "DBMTL": DBMTL,
    "DCN": DCN,
    "DLRM": DLRM,
    "DAT": DAT,
    "DSSM": DSSM,
    "DSSM_SENet": DSSM_SENet,
    "MIND": MIND,
    "DeepFM": DeepFM,
    "DropoutNet": DropoutNet,
    "ESMM": ESMM,
    "FM": FM,
    "MMoE": MMoE,
    "MatchModel": MatchModel,
    "MultiTaskModel": MultiTaskModel,
    "MultiTower": MultiTower,
    "MultiTowerBST": MultiTowerBST,
    "MultiTowerDIN": MultiTowerDIN,
    "MultiTowerRecall": MultiTowerRecall,
    "PDN": PDN,
    "PLE": PLE,
    "RankModel": RankModel,
    "RocketLaunching": RocketLaunching,
    "SimpleMultiTask": SimpleMultiTask,
    "Uniter": Uniter,
    "WideAndDeep": WideAndDeep,
}


def build_model(build: ModelBuild) -> Model:
    """Builds the model that `model_config` describes.

    Raises:
        ConfigError: There is no such model_class, or its block doesn't fit.
    """
    return MODELS[spec_of(build.config).name](build)
