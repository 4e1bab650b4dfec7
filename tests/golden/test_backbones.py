"""EasyRec's runs of backbones: predictions from its checkpoints, and its losses at every step."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
from golden.easyrec import GoldenRun, golden_run, numbers, our_predictions, our_trace, parted

from hvdrec.config import Config
from hvdrec.models import rank_model
from hvdrec.models.backbone.engine import Backbone

#: Of these the losses are what EasyRec's run shows.
LOSSES = (
    *("ziln_taobao", "kd_kl_taobao", "uncertainty_weights_taobao"),
    *("listwise_rank_patched_taobao", "listwise_distill_patched_taobao"),
)
#: Every run of a backbone whose losses are here.
RUNS = (
    *("aitm_taobao", "autodis_criteo", "cdn_taobao", "contrastive_movielens", "din_backbone_taobao"),
    *("dlrm_backbone_taobao", "fibinet_taobao", "pairwise_mix_float_label_taobao", "ppnet_taobao"),
    *LOSSES,
)


@dataclasses.dataclass(frozen=True)
class _AsTaken(GoldenRun):
    """A run with a config that is equivalent to what EasyRec computes.

    It takes an activation named softmax, without a path, for none.
    """

    def config(self, model_dir: pathlib.Path) -> Config:
        config = super().config(model_dir)
        for block in config.proto.model_config.backbone.blocks:
            if block.keras_layer.mlp.final_activation == "softmax":
                block.keras_layer.mlp.final_activation = "linear"
        return config


def _run(name: str) -> GoldenRun:
    run = golden_run(name)
    return _AsTaken(run.name, run.folder)


@pytest.mark.parametrize("name", RUNS)
def test_predictions(name: str, tmp_path: pathlib.Path) -> None:
    run = _run(name)
    found, expected = next(our_predictions(run, tmp_path, 30)), run.predictions(30)
    for key, values in expected.items():
        np.testing.assert_allclose(numbers(found[key]), numbers(values), rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", ["contrastive_movielens", "din_backbone_taobao", "fibinet_taobao", *LOSSES])
def test_trace(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyRec loses the l2_regularization of a backbone's layers; without it, its losses in every step."""

    def unregularized(build: Any, l2: float) -> Backbone:
        return Backbone(build, 0.0)

    monkeypatch.setattr(rank_model, "Backbone", unregularized)
    run = _run(name)
    assert parted(our_trace(run, tmp_path / "run"), run.trace()) < 1e-3
