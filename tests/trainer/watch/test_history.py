"""What is kept of all evaluations of a run."""

from __future__ import annotations

import json
import pathlib

import pytest
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.errors import CheckpointError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.watch.history import MetricFile


def test_a_line_of_json_per_evaluation_across_restarts(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 96)
    found = []
    for steps in (4, 6):
        job = SmallJob(tmp_path / "train.csv", tmp_path / "model", model="FM", evaluation=tmp_path / "train.csv",
                       steps=steps, train_extra="save_checkpoints_steps: 2")  # fmt: skip
        path = tmp_path / f"new/{steps}.json"
        fit = RunOptions(fit_on_eval=True, fit_on_eval_steps=1) if steps == 6 else RunOptions()
        options = RunOptions(**{**vars(fit), "hpo_metric_save_path": str(path)})
        made = Job(load(str(job.write(tmp_path / "job.config"))), SingleReplica())
        result = made.train(steps == 6, 0, options)
        found.append([json.loads(line) for line in path.read_text().splitlines()])
        assert made.evaluated_step == steps
        assert found[-1][-1] == {**result, "global_step": steps}
    assert [line["global_step"] for line in found[1]] == [2, 4, 6]
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    assert int(made.global_step.numpy()) == 7


def test_a_file_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="--hpo_metric_save_path: can't write"):
        MetricFile(str(tmp_path / "file/x.json"), str(tmp_path)).add(1, {"auc": 0.5})
