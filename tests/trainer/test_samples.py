"""EasyRec's sample configs on made rows: two steps, an evaluation, an export.

Some of each kind run with all tests; ``--samples all`` runs every one that can be used, ``--samples NAME`` one. Those
that are named are also stopped after a step and resumed.
"""

from __future__ import annotations

import json
import math
import pathlib

import numpy as np
import pytest
from sample_configs import FOLDER, listed_as_refused, names, prepared

from hvdrec.config.checks.check import check
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

SOME = (
    "taobao_fg.config",
    "fg_train.config",
    "deepfm_on_criteo_tfrecord.config",
    "deepfm_on_criteo_batch_tfrecord.config",
    "deepfm_lookup.config",
    "dlrm_on_criteo.config",
    "fm_variational_dropout_on_taobao.config",
    "multi_tower_on_taobao_test_udf.config",
    "deepfm_combo_avazu_kafka.config",
)


def wanted(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--samples")
    if chosen and chosen != "all":
        return chosen.split(",")
    usable = [name for name in names() if name not in listed_as_refused()]
    return usable if chosen else [name for name in SOME if name in usable]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("name", wanted(metafunc.config))


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="EasyRec's sample configs are in ../shared, which isn't there"
)
@pytest.mark.usefixtures("user_code_allowed")
def test_a_sample_trains_is_evaluated_and_exported(
    name: str, tmp_path: pathlib.Path, pytestconfig: pytest.Config
) -> None:
    config = prepared(name, tmp_path)
    check(config)
    job = Job(config, SingleReplica())
    result = job.train(False, 0)
    lines = (tmp_path / "run" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    assert len(steps) == 2
    assert all(math.isfinite(record["total_loss"]) for record in steps)
    assert math.isfinite(result["loss"])
    assert job.exports is not None
    job.exports.at_end()
    assert list((tmp_path / "run" / "export" / "final").glob("*/saved_model.pb"))
    if pytestconfig.getoption("--samples"):
        _resume(name, tmp_path, job)


def _resume(name: str, folder: pathlib.Path, whole: Job) -> None:
    """A second run is stopped after the first step, and a third one continues it to the same bits."""
    (folder / "resumed").mkdir()
    for steps in (1, 2):
        config = prepared(name, folder / "resumed")
        config.proto.train_config.num_steps = steps
        config.proto.train_config.save_checkpoints_steps = 1
        check(config)
        job = Job(config, SingleReplica())
        job.train(steps == 2, 0)
    found = {entry.name: entry.variable.numpy() for entry in job.entries()}
    for entry in whole.entries():
        np.testing.assert_array_equal(found[entry.name], entry.variable.numpy(), err_msg=entry.name)
