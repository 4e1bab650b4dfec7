"""EasyRec's runs of backbones: predictions from its checkpoints, and its losses at every step."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
from golden.easyrec import GoldenRun, assert_followed, golden_run, numbers, our_predictions

from hvdrec.config import Config
from hvdrec.models import multi_task_model, rank_model
from hvdrec.models.backbone.engine import Backbone

RUNS = (
    *("aitm_taobao", "autodis_criteo", "cdn_taobao", "contrastive_movielens", "din_backbone_taobao"),
    *("dlrm_backbone_taobao", "fibinet_taobao", "pairwise_mix_float_label_taobao", "ppnet_taobao"),
    *("ziln_taobao", "kd_kl_taobao", "uncertainty_weights_taobao"),
    *("listwise_rank_patched_taobao", "listwise_distill_patched_taobao"),
)
_ENCODER = "backbone/contrastive_learning_input/item_tower/item_encoder"
#: Last weights that are others here; training doesn't depend on them.
WITHOUT: dict[str, set[str]] = {
    # Where a package is used several times, EasyRec's updates of a step all start from the same averages.
    "contrastive_movielens": {f"{_ENCODER}/layer_{i}/bn/moving_variance" for i in range(2)},
    # The numbers' embeddings hardly differ between rows, and a batch norm follows: gradients of 1e-9 are rounding.
    "autodis_criteo": {"backbone_top_mlp/layer_0/dense/kernel"},
    # A softmax doesn't change if all its logits are shifted.
    "listwise_rank_patched_taobao": {"listwise_loss/scale_b"},
    # EasyRec also follows the statistics of all columns together, of which nothing uses the norm.
    "fibinet_taobao": {f"batch_normalization/moving_{which}" for which in ("mean", "variance")},
}


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


@pytest.mark.parametrize("name", RUNS)
def test_trace(name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyRec loses the l2_regularization of a backbone's layers; without it, its losses and last weights."""

    def unregularized(build: Any, l2: float) -> Backbone:
        return Backbone(build, 0.0)

    for model in (rank_model, multi_task_model):
        monkeypatch.setattr(model, "Backbone", unregularized)
    assert_followed(_run(name), tmp_path / "run", WITHOUT.get(name, ()))
