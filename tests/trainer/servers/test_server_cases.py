"""What runs on parameter servers share with Horovod's: the end by a wrong number, checkpoints, fine-tuning."""

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
    """Writes `x` in the place of a row's x, and gives what was there."""
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
    began = start("horovodrun", 2, [*train, "--train_config.num_steps=10"])
    assert began.returncode == 0, began.stderr

    run = ServerRun(
        *("--workers", "2", "--ps", "2", *arguments, "--continue_train", "--eval_method", "none"),
        *("--train_config.sync_replicas=true", "--train_config.num_steps=30"),
    )
    assert run.wait() == 1, run.text
    assert "model.ckpt-10: epoch 0, row 480 of the input" in run.text
    assert re.search(r"error: step 24: not finite: loss .*, gradient of .*row 1190;", run.text)
    assert "the last checkpoint is that of step 20" in run.text
    assert "Traceback" not in run.text
    assert "evaluated" not in run.text.partition("going on from")[2]
    assert not (job.model_dir / "ESTIMATOR_TRAIN_DONE").exists()
    assert sorted(p.name for p in job.model_dir.glob("*.index")) == [
        f"model.ckpt-{n}.index" for n in (0, 10, 20)
    ]

    ended = start("horovodrun", 2, [*train, "--continue_train", "--train_config.num_steps=24"])
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
    assert "the last checkpoint is that of step 20" in run.text
    assert "Traceback" not in run.text
    _edit_row(job.train, 1190, before)
    monkeypatch.setattr("hvdrec.commands.export.set_threads", lambda *_: None)
    export(parse_export(["--model_dir", str(job.model_dir), "--export_dir", str(tmp_path / "exported")]))
    found = predict("--saved_model_dir", tmp_path / "exported", rows=tmp_path / "eval.csv")
    assert found.std() > 0.01
    here = predict("--model_dir", job.model_dir, rows=tmp_path / "eval.csv")
    np.testing.assert_allclose(found, here, atol=1e-6)


def test_easyrecs_checkpoint_is_trained_on_as_easyrec_does(
    shared: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    golden, adult = shared / "golden" / "multi_tower_two_losses_adult", shared / "data" / "adult"
    run = ServerRun(
        *("--workers", "1", "--ps", "2", "--pipeline_config_path", str(golden / "pipeline.config")),
        *("--train_input_path", str(adult / "adult_train.csv"), "--model_dir", str(tmp_path / "model")),
        *("--eval_method", "none", "--train_config.sync_replicas=true", "--train_config.num_steps=40"),
        *(
            "--train_config.train_distribute=NoStrategy",
            "--fine_tune_checkpoint",
            str(golden / "model.ckpt-0"),
        ),
    )
    assert run.wait() == 0, run.text
    assert re.search(r"fine-tuning: restored \d+ variables from .*; not restored: 0", run.text)
    with open(golden / "loss_trace.csv", newline="") as file:
        trace = list(csv.DictReader(file))[:40]
    lines = (tmp_path / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    for found, expected in zip(steps, trace, strict=True):
        for name in expected.keys() - {"step"}:
            assert found[name] == pytest.approx(float(expected[name]), rel=1e-4), (found["step"], name)


def test_a_matching_model_trains_on_servers(tmp_path: pathlib.Path) -> None:
    """Its loss over sampled items is computed by the workers."""
    golden = golden_run("dssm_neg_sampler_taobao")
    text = (golden.folder / "pipeline.config").read_text()
    for name in [*golden.folder.glob("*.csv"), *golden.folder.glob("*.txt")]:
        text = text.replace(f'"{name.name}"', f'"{name}"')
    config = tmp_path / "c.config"
    config.write_text(text)
    run = ServerRun(
        *("--workers", "1", "--ps", "2", "--pipeline_config_path", str(config)),
        *("--model_dir", str(tmp_path / "model"), "--eval_method", "none", "--train_config.num_steps=10"),
        *("--train_config.sync_replicas=true", "--fine_tune_checkpoint", golden.checkpoint(0)),
    )
    assert run.wait() == 0, run.text
    lines = (tmp_path / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    assert len(steps) == 10
    # EasyRec drew other items, so its losses are near and not the same.
    assert steps[0]["cross_entropy_loss"] == pytest.approx(golden.trace()[0]["cross_entropy_loss"], rel=0.1)
    assert steps[-1]["cross_entropy_loss"] < steps[0]["cross_entropy_loss"]
