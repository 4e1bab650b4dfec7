"""The model classes by name."""

from __future__ import annotations

from typing import Any

from hvdrec.config.losses import SPECS as LOSSES
from hvdrec.config.models.autoint import AutoIntSpec
from hvdrec.config.models.cmbf import CMBFSpec
from hvdrec.config.models.co_metric_learning_i2i import CoMetricLearningI2ISpec
from hvdrec.config.models.dat import DATSpec
from hvdrec.config.models.dbmtl import DBMTLSpec
from hvdrec.config.models.dcn import DCNSpec
from hvdrec.config.models.deepfm import DeepFMSpec
from hvdrec.config.models.dlrm import DLRMSpec
from hvdrec.config.models.dropoutnet import DropoutNetSpec
from hvdrec.config.models.dssm import DSSMSpec
from hvdrec.config.models.dssm_senet import DSSMSENetSpec
from hvdrec.config.models.esmm import ESMMSpec
from hvdrec.config.models.fm import FMSpec
from hvdrec.config.models.match_model import MatchModelSpec
from hvdrec.config.models.mind import MINDSpec
from hvdrec.config.models.mmoe import MMoESpec
from hvdrec.config.models.multi_task_model import MultiTaskModelSpec
from hvdrec.config.models.multi_tower import MultiTowerSpec
from hvdrec.config.models.multi_tower_bst import MultiTowerBSTSpec
from hvdrec.config.models.multi_tower_din import MultiTowerDINSpec
from hvdrec.config.models.multi_tower_recall import MultiTowerRecallSpec
from hvdrec.config.models.pdn import PDNSpec
from hvdrec.config.models.ple import PLESpec
from hvdrec.config.models.rank_model import RankModelSpec
from hvdrec.config.models.rocket_launching import RocketLaunchingSpec
from hvdrec.config.models.simple_multi_task import SimpleMultiTaskSpec
from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.models.uniter import UniterSpec
from hvdrec.config.models.wide_and_deep import WideAndDeepSpec
from hvdrec.errors import ConfigError

SPECS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        DeepFMSpec(),
        WideAndDeepSpec(),
        FMSpec(),
        MultiTowerSpec(),
        MultiTowerDINSpec(),
        MultiTowerBSTSpec(),
        DCNSpec(),
        DLRMSpec(),
        AutoIntSpec(),
        CMBFSpec(),
        UniterSpec(),
        CoMetricLearningI2ISpec(),
        DropoutNetSpec(),
        MMoESpec(),
        PLESpec(),
        DBMTLSpec(),
        SimpleMultiTaskSpec(),
        RocketLaunchingSpec(),
        ESMMSpec(),
        DSSMSpec(),
        DSSMSENetSpec(),
        DATSpec(),
        MINDSpec(),
        MatchModelSpec(),
        MultiTowerRecallSpec(),
        PDNSpec(),
        RankModelSpec(),
        MultiTaskModelSpec(),
    )
}

#: All model classes of EasyRec that aren't abstract; those without a spec are still to come.
_OF_EASYREC = (
    *("DeepFM", "WideAndDeep", "FM", "MultiTower", "DCN", "DLRM", "CoMetricLearningI2I", "DropoutNet"),
    *("AutoInt", "MultiTowerDIN", "MultiTowerBST", "CMBF", "Uniter", "RocketLaunching", "RankModel"),
    *("MultiTaskModel", "SimpleMultiTask", "MMoE", "PLE", "DBMTL", "ESMM", "DSSM", "DSSM_SENet", "DAT"),
    *("MIND", "MultiTowerRecall", "MatchModel", "PDN", "DummyModel"),
)
TO_COME = tuple(name for name in _OF_EASYREC if name not in SPECS)


def spec_of(model: Any) -> ModelSpec:
    """The spec of a `model_config`.

    Raises:
        ConfigError: There is no such model class, or its block isn't there.
    """
    spec = SPECS.get(model.model_class)
    if spec is None:
        raise ConfigError(
            f"model_config.model_class: {model.model_class!r} is not supported yet; there are "
            f"{', '.join(sorted(SPECS))}"
        )
    found = model.WhichOneof("model")
    if found != spec.block:
        raise ConfigError(
            f"model_config: model_class {spec.name} needs a {spec.block} {{}} block, found {found or 'none'}"
        )
    return spec


def fields(table: str) -> dict[str, Any]:
    """One of the specs' tables of fields together: `refused`, `ignored` or `ranges`."""
    found: dict[str, Any] = {}
    for spec in SPECS.values():
        found.update(spec.all_ranges() if table == "ranges" else getattr(spec, table))
    return found


def silent_fields() -> list[str]:
    """The fields of the specs' `silent`."""
    return [name for spec in SPECS.values() for name in spec.silent]


def classes_of_losses() -> dict[str, list[str]]:
    """The losses that only some classes take, with those classes."""
    found: dict[str, list[str]] = {}
    for spec in SPECS.values():
        for loss in (*spec.only_losses, *spec.extra_losses):
            if LOSSES[loss].own:
                found.setdefault(loss, []).append(spec.name)
    return found


def classes_of_kind(kind: str) -> list[str]:
    """The classes that may have heads of a kind."""
    return [spec.name for spec in SPECS.values() if kind in spec.kinds]


def classes_with_backbones() -> list[str]:
    """The classes that are made of a `backbone`."""
    return [spec.name for spec in SPECS.values() if spec.backbone]
