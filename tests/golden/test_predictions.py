"""EasyRec's checkpoints give EasyRec's predictions."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from golden.easyrec import golden_run, numbers, our_predictions

#: Every run whose model class is here.
RUNS = (
    "deepfm_multi_cls",
    "dssm_kd_taobao",
    "multi_tower_recall_taobao",
    "order_calibrate_dbmtl",
    "esmm_taobao",
    "rocket_launching_taobao",
    "rocket_launching_feature_taobao",
    "kv_tag",
    "sample_weight",
    "two_optimizers",
    "dropoutnet_taobao",
    "metric_learning_taobao",
    "mmoe_taobao",
    "simple_multi_task_taobao",
    "dbmtl_taobao",
    "expr_feature_taobao",
    "lookup_feature",
    "variational_dropout_dbmtl",
    "din_taobao",
    "dssm_inbatch_taobao",
    "dssm_neg_sampler_taobao",
    "dssm_hard_neg_taobao",
    "dssm_senet_taobao",
    "dssm_backbone_taobao",
    "dat_taobao",
    "mind_taobao",
    "mind_default_routing_taobao",
    "bst_taobao",
    "autoint_taobao",
    "pdn_taobao",
    "cmbf_multi_loss",
    "uniter_movielens",
    "dbmtl_sequence_feature",
    "dbmtl_multi_numeric_boundary_allow_key_transform",
)


@pytest.mark.parametrize("name", RUNS)
def test_predictions(name: str, tmp_path: pathlib.Path) -> None:
    run = golden_run(name)
    for step, found in zip((0, 30), our_predictions(run, tmp_path, 0, 30), strict=True):
        for key, values in run.predictions(step).items():
            ours = numbers(found[key])
            np.testing.assert_allclose(ours, numbers(values), rtol=1e-4, atol=1e-5, err_msg=f"{step}: {key}")
