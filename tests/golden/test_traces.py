"""Training from EasyRec's first checkpoint gives EasyRec's losses, step by step."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from golden.easyrec import (
    assert_followed,
    distances,
    golden_run,
    our_ends,
    parted,
    starts,
)

#: Runs, and last weights that the loss doesn't depend on.
RUNS: dict[str, set[str]] = {
    "kv_tag": set(),
    "sample_weight": set(),
    "two_optimizers": set(),
    "dropoutnet_taobao": set(),
    "metric_learning_taobao": set(),
    "simple_multi_task_taobao": set(),
    "expr_feature_taobao": set(),
    "order_calibrate_dbmtl": set(),
    "esmm_taobao": set(),
    "rocket_launching_taobao": set(),
    "lookup_feature": set(),
    "autoint_taobao": set(),
    "pdn_taobao": set(),
    # Of these two a batch norm follows the last layer norm.
    "bst_taobao": {"layer_normalization_1/layer_norm_bias"},
    "uniter_movielens": {"uniter_layer_1/output/LayerNorm/beta"},
    "dbmtl_sequence_feature": set(),
}


@pytest.mark.parametrize("name", RUNS)
def test_trace(name: str, tmp_path: pathlib.Path) -> None:
    assert_followed(golden_run(name), tmp_path / "run", RUNS[name])


@pytest.mark.parametrize(
    ("name", "steps", "share"),
    [
        # The same layer on padded histories parts in the same steps.
        ("din_taobao", 16, 0.02),
        ("dbmtl_taobao", 5, 0.0005),
        ("deepfm_multi_cls", 2, 0.02),
        ("dssm_kd_taobao", 5, 0.02),
        ("cmbf_multi_loss", 18, 0.02),
        ("dbmtl_multi_numeric_boundary_allow_key_transform", 8, 0.02),
    ],
)
def test_rounding_alone_parts_a_deep_model(
    name: str, steps: int, share: float, tmp_path: pathlib.Path
) -> None:
    """Layers with batch norm and ReLU: the first steps are EasyRec's, then no two runs stay together.

    One of EasyRec's start and those that differ from it in the last bit of a few weights follows EasyRec's run for
    `steps`. Such starts part from each other as far as from EasyRec's run, and so do their last weights.
    """
    run = golden_run(name)
    trace = run.trace()
    (ours, weights), *neighbours = our_ends(run, tmp_path, starts(4, share))
    assert parted(ours[:2], trace[:2]) < 1e-5
    followers = (found for found, _ in ((ours, weights), *neighbours))
    assert any(parted(found[:steps], trace[:steps]) < 1e-5 for found in followers)
    named = [{name: step[name] for name in trace[0]} for step in ours]
    assert any(parted(found, named) > parted(ours, trace) / 2 for found, _ in neighbours)
    theirs = distances(run, weights)
    spread = (
        np.abs(others[name] - weights[name]).max(initial=0) for _, others in neighbours for name in theirs
    )
    assert max(theirs.values()) < 2 * float(max(spread))
