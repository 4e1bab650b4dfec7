"""What runs on parameter servers have in common with Horovod's: ending on a bad number, checkpoints, fine-tuning."""

from __future__ import annotations

import csv
import json
import pathlib
import re

import numpy as np
import pytest
from golden.easyrec import golden_run
from multirank.launch import start
from server_run import ServerRun, predict, small_job, values, write

from hvdrec.config import load
from hvdrec.config.flags import parse_export
from hvdrec.export import run as export
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

pytestmark = pytest.mark.multirank

#: By inputs that aren't finite DeepFM's losses need not be: this one's are.
MODEL = {"model": "DCN", "optimizer": "adam_optimizer { learning_rate { constant_learning_rate {} } }"}


def _edit_row(data: pathlib.Path, row: int, x: str) -> str:
    """Replaces a row's x by `x`, and returns the old one."""
    lines = data.read_text().splitlines(keepends=True)
    cells = lines[row - 1].split(",")
    before, cells[5] = cells[5], x
    lines[row - 1] = ",".join(cells)
    data.write_text("".join(lines))
    return before


def test_horovods_run_goes_on_in_step_ends_by_a_wrong_number_and_goes_back(tmp_path: pathlib.Path) -> None:
    """With the same numbers as a run of one process that nothing happened to."""
    alone = small_job(tmp_path, "alone", steps=24, **MODEL)
    # Rows 1153 to 1200 are of step 24 (from 0), the last 24 the second worker's.
    _edit_row(alone.train, 1190, "3e38")
    Job(load(write(alone)), SingleReplica()).train(False, 0)
    whole = values(alone.model_dir / "model.ckpt-24")

    job = small_job(tmp_path, "model", batch_size=24, evaluation=tmp_path / "eval.csv", **MODEL)
    arguments = ["--pipeline_config_path", write(job), "--train_config.save_checkpoints_steps=10"]
    train = ["-m", "hvdrec.train", *arguments]
    began = start("mpirun", 2, [*train, "--train_config.num_steps=10"])
    assert began.returncode == 0, began.stderr

    run = ServerRun(
        *("--workers", "2", "--ps", "2", *arguments, "--continue_train", "--eval_method", "none"),
        *("--train_config.sync_replicas=true", "--train_config.num_steps=30"),
    )
    assert run.wait() == 1, run.text
    assert "model.ckpt-10: epoch 0, row 480 of the input" in run.text
    assert re.search(r"error: step 24: not finite: loss .*, gradient of .*row 1190;", run.text)
    assert "the last checkpoint is from step 20" in run.text
    assert "Traceback" not in run.text
    assert "evaluated" not in run.text.partition("continuing from")[2]
    assert not (job.model_dir / "ESTIMATOR_TRAIN_DONE").exists()
    assert sorted(p.name for p in job.model_dir.glob("*.index")) == [
        f"model.ckpt-{n}.index" for n in (0, 10, 20)
    ]

    ended = start("mpirun", 2, [*train, "--continue_train", "--train_config.num_steps=24"])
    assert ended.returncode == 0, ended.stderr
    assert "model.ckpt-20: epoch 0, row 960 of the input" in ended.stderr
    found = values(job.model_dir / "model.ckpt-24")
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_a_wrong_number_ends_asynchronous_workers_and_what_was_saved_is_exported(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = small_job(tmp_path, "model", steps=40, train_extra="train_distribute: PSStrategy", **MODEL)
    config = write(job)
    before = _edit_row(job.train, 1190, "3e38")
    run = ServerRun(
        *("--workers", "2", "--ps", "2", "--pipeline_config_path", config),
        "--train_config.save_checkpoints_steps=20",
    )
    assert run.wait() == 1, run.text
    assert re.search(r"error: step 24: not finite: loss .*, gradient of .*row 1190;", run.text)
    assert "the last checkpoint is from step 20" in run.text
    assert "Traceback" not in run.text
    _edit_row(job.train, 1190, before)
    monkeypatch.setattr("hvdrec.commands.export.set_threads", lambda *_: None)
    export(parse_export(["--model_dir", str(job.model_dir), "--export_dir", str(tmp_path / "exported")]))
    found = predict("--saved_model_dir", tmp_path / "exported", rows=tmp_path / "eval.csv")
    assert found.std() > 0.01
    here = predict("--model_dir", job.model_dir, rows=tmp_path / "eval.csv")
    np.testing.assert_allclose(found, here, atol=1e-6)


@pytest.fixture(scope="module")
def served(shared: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with EasyRec's runs, trained from its checkpoints on two servers: model_dir `adult`, `matching`."""
    folder = tmp_path_factory.mktemp("served")
    adult, matching = (
        shared / "golden" / "multi_tower_two_losses_adult",
        golden_run("dssm_neg_sampler_taobao"),
    )
    text = (matching.folder / "pipeline.config").read_text()
    for name in [*matching.folder.glob("*.csv"), *matching.folder.glob("*.txt")]:
        text = text.replace(f'"{name.name}"', f'"{name}"')
    (folder / "matching.config").write_text(text)
    flags = {
        "adult": [
            *("--pipeline_config_path", str(adult / "pipeline.config"), "--train_config.num_steps=40"),
            *("--train_input_path", str(shared / "data" / "adult" / "adult_train.csv")),
            *("--fine_tune_checkpoint", str(adult / "model.ckpt-0")),
            "--train_config.train_distribute=NoStrategy",
        ],
        "matching": [
            *("--pipeline_config_path", str(folder / "matching.config"), "--train_config.num_steps=10"),
            *("--fine_tune_checkpoint", matching.checkpoint(0)),
        ],
    }
    common = ("--train_config.sync_replicas=true",)
    jobs = [[*given, *common, "--model_dir", str(folder / name)] for name, given in flags.items()]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = start("plain", 1, ["-m", "served", str(folder / "jobs.json")])
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def _steps(model_dir: pathlib.Path) -> list[dict[str, float]]:
    lines = (model_dir / "logs" / "rank-0.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == "step"]


def test_easyrecs_checkpoint_is_trained_on_as_easyrec_does(
    shared: pathlib.Path, served: pathlib.Path
) -> None:
    golden = shared / "golden" / "multi_tower_two_losses_adult"
    with open(golden / "loss_trace.csv", newline="") as file:
        trace = list(csv.DictReader(file))[:40]
    for found, expected in zip(_steps(served / "adult"), trace, strict=True):
        for name in expected.keys() - {"step"}:
            assert found[name] == pytest.approx(float(expected[name]), rel=1e-4), (found["step"], name)


def test_a_matching_model_trains_on_servers(served: pathlib.Path) -> None:
    """Its loss over sampled items is computed by the workers."""
    steps, first = _steps(served / "matching"), golden_run("dssm_neg_sampler_taobao").trace()[0]
    assert len(steps) == 10
    # EasyRec drew other items, so its losses are near and not the same.
    assert steps[0]["cross_entropy_loss"] == pytest.approx(first["cross_entropy_loss"], rel=0.1)
    assert steps[-1]["cross_entropy_loss"] < steps[0]["cross_entropy_loss"]
