"""EasyRec's sample configs on made rows: two steps, an evaluation, an export that is served, and a resumed run.

Some of each kind run with all tests, most of them to the export; ``--samples all`` runs every one that can be used,
``--samples NAMES`` some, and ``--samples class:NAMES`` those of model classes.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pytest
from sample_configs import FOLDER, listed_as_refused, made_rows, names, prepared
from serving.exported import BareProcess, request_of, trainers_predictions
from trainer.stopping import assert_same_bits

from hvdrec.config import Config
from hvdrec.config.checks.check import check
from hvdrec.config.names import enum_name
from hvdrec.config.samplers import sampler_config
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.options import RunOptions

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
    "taobao_fg_ev_v2.config",
)
#: Served and resumed with all tests.
TO_THE_END = "din_on_sequence_feature_taobao.config"
ROWS = 48
_CLASS = re.compile(r"""model_class: *['"](\w+)['"]""")


def wanted(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--samples")
    usable = [name for name in names() if name not in listed_as_refused()]
    if not chosen:
        return [name for name in (*SOME, TO_THE_END) if name in usable]
    if chosen.startswith("class:"):
        classes = chosen.removeprefix("class:").split(",")
        return [name for name in usable if _model_class(name) in classes]
    return usable if chosen == "all" else chosen.split(",")


def _model_class(name: str) -> str:
    found = _CLASS.search((FOLDER / name).read_text())
    return found[1] if found else ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    further = bool(metafunc.config.getoption("--samples"))
    names_and_ends = [(name, further or name == TO_THE_END) for name in wanted(metafunc.config)]
    metafunc.parametrize(("name", "to_the_end"), names_and_ends)


@pytest.fixture(scope="module")
def server() -> Iterator[BareProcess]:
    process = BareProcess()
    yield process
    process.close()


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="EasyRec's sample configs are in ../shared, which isn't there"
)
@pytest.mark.usefixtures("user_code_allowed")
def test_a_sample_trains_serves_and_resumes(
    name: str, to_the_end: bool, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    config = prepared(name, tmp_path, ROWS)
    check(config)
    job = Job(config, SingleReplica())
    result = job.train(False, 0)
    assert math.isfinite(result["loss"])
    losses = _losses(job)
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    assert job.exports is not None
    job.exports.at_end()
    (exported,) = (tmp_path / "run" / "export" / "final").glob("*/saved_model.pb")
    if to_the_end:
        _assert_served(request.getfixturevalue("server"), job, exported.parent, tmp_path)
        _assert_resumed(config, losses)


def _losses(job: Job) -> list[float]:
    lines = (pathlib.Path(job.proto.model_dir) / "logs" / "rank-0.jsonl").read_text().splitlines()
    return [record["total_loss"] for record in map(json.loads, lines) if record["kind"] == "step"]


def _assert_served(server: BareProcess, job: Job, exported: pathlib.Path, folder: pathlib.Path) -> None:
    """A bare process answers what the trainer predicts; with sampled items or Kafka, numbers for every row."""
    found = server.predict(folder, exported, request_of(job, made_rows(job.proto, ROWS)))
    # Rows of several partitions have no order.
    is_kafka = enum_name(job.proto.data_config, "input_type") == "KafkaInput"
    expected = {} if sampler_config(job.proto) or is_kafka else trainers_predictions(job)
    assert found
    for output, values in found.items():
        assert len(values) == ROWS, output
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), output
        if output in expected and expected[output].dtype != object:
            np.testing.assert_allclose(values, expected[output], rtol=1e-5, atol=1e-6, err_msg=output)


def _assert_resumed(config: Config, losses: list[float]) -> None:
    """The second step again, from the checkpoint of the first."""
    whole = pathlib.Path(config.proto.model_dir)
    resumed = whole.with_name("resumed")
    resumed.mkdir()
    for file in whole.glob("model.ckpt-1.*"):
        file.rename(resumed / file.name)
    config.proto.model_dir = str(resumed)
    job = Job(config, SingleReplica())
    job.train(True, 0, RunOptions(evaluates=False))
    assert _losses(job) == losses[1:]
    assert_same_bits(str(whole / "model.ckpt-2"), str(resumed / "model.ckpt-2"))
