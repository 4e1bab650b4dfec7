"""Training from EasyRec's first checkpoint gives EasyRec's losses, step by step."""

from __future__ import annotations

import pathlib

import pytest
from golden.easyrec import golden_run, in_last_bit, our_end, our_traces, parted, strayed

from hvdrec.trainer.job import Job


def _unchanged(_: Job) -> None:
    """Starts from EasyRec's weights."""


#: Runs whose last weights are EasyRec's too, but for these, which the loss doesn't depend on.
LAST_WEIGHTS: dict[str, set[str]] = {
    "simple_multi_task_taobao": set(),
    "esmm_taobao": set(),
    "pdn_taobao": set(),
    # A batch norm follows the last layer norm.
    "bst_taobao": {"layer_normalization_1/layer_norm_bias"},
}


@pytest.mark.parametrize(
    "name",
    [
        "sample_weight",
        "dropoutnet_taobao",
        "metric_learning_taobao",
        "simple_multi_task_taobao",
        "expr_feature_taobao",
        "order_calibrate_dbmtl",
        "esmm_taobao",
        "rocket_launching_taobao",
        "lookup_feature",
        "autoint_taobao",
        "pdn_taobao",
        "bst_taobao",
        "uniter_movielens",
        "dbmtl_sequence_feature",
    ],
)
def test_trace(name: str, tmp_path: pathlib.Path) -> None:
    run = golden_run(name)
    trace, weights = our_end(run, tmp_path / "run")
    assert parted(trace, run.trace()) < 1e-3
    if name in LAST_WEIGHTS:
        assert strayed(run, weights) <= LAST_WEIGHTS[name]


@pytest.mark.parametrize(
    ("name", "step", "apart", "followed"),
    [
        ("kv_tag", 19, 1.3e-3, None),
        ("two_optimizers", 9, 3.6e-3, None),
        # No start of 16 goes all the way; the same layer on padded histories parts in the same steps.
        ("din_taobao", 4, 6e-2, 16),
    ],
)
def test_one_rounding_parts_a_trace(
    name: str, step: int, apart: float, followed: int | None, tmp_path: pathlib.Path
) -> None:
    """Somewhere a ReLU's input is 0 except for rounding, and its sign makes two runs diverge permanently.

    Of starts that differ from EasyRec's in the last bit of a few weights, some follow EasyRec's run to its
    end (or for as many steps as `followed` says), and the others part from it where ours does.
    """
    run = golden_run(name)
    trace = run.trace()
    starts = our_traces(run, tmp_path, [_unchanged, *(in_last_bit(seed, 0.02) for seed in range(12))])
    ours = next(starts)
    assert parted(ours[:step], trace[:step]) < 1e-5
    assert parted(ours, trace) < apart
    assert any(parted(found[:followed], trace[:followed]) < 1e-5 for found in starts)


@pytest.mark.parametrize(
    ("name", "steps", "share"),
    [
        ("dbmtl_taobao", 5, 0.0005),
        ("deepfm_multi_cls", 2, 0.02),
        ("dssm_kd_taobao", 5, 0.02),
        ("cmbf_multi_loss", 18, 0.02),
        ("dbmtl_multi_numeric_boundary_allow_key_transform", 4, 0.02),
    ],
)
def test_rounding_alone_parts_a_deep_model(
    name: str, steps: int, share: float, tmp_path: pathlib.Path
) -> None:
    """Layers with batch norm and ReLU: the first steps are EasyRec's, then no two runs stay together.

    Starts that differ in the last bit of a few weights part from each other as far as from EasyRec's run.
    """
    run = golden_run(name)
    trace = run.trace()
    starts = our_traces(run, tmp_path, [_unchanged, *(in_last_bit(seed, share) for seed in range(4))])
    ours = next(starts)
    assert parted(ours[:steps], trace[:steps]) < 1e-5
    named = [{name: step[name] for name in trace[0]} for step in ours]
    assert any(parted(found, named) > parted(ours, trace) / 2 for found in starts)
