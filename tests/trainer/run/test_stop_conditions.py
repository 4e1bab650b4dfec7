"""What ends training early, and training on the evaluation data."""

from __future__ import annotations

import itertools
import json
import pathlib

import pytest
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, train

from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.stop_conditions import DeadLine, StopFile


def _steps(model_dir: pathlib.Path) -> list[int]:
    return sorted(int(p.name[11:-6]) for p in model_dir.glob("model.ckpt-*.index"))


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ('dead_line: "20200101 00:00:00"', "has passed; nothing is left to train"),
        ("enable_oss_stop_signal: true", "OSS_STOP_SIGNAL exists; nothing is left to train"),
    ],
)
def test_a_run_that_may_not_begin_is_refused(tmp_path: pathlib.Path, extra: str, why: str) -> None:
    write_data(tmp_path / "train.csv", 200)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", model="FM", steps=50, train_extra=extra)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/OSS_STOP_SIGNAL").write_text("")
    with pytest.raises(ConfigError, match=why):
        train(str(job.write(tmp_path / "job.config")), SingleReplica())
    assert _steps(tmp_path / "model") == []


def test_training_ends_saved_and_evaluated(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path / "train.csv", 400)
    asked = itertools.count()
    monkeypatch.setattr(DeadLine, "__call__", lambda self: "it is late" if next(asked) > 6 else None)
    extra = 'dead_line: "20990101 00:00:00" steps_per_call: 1'
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", model="FM", steps=50, train_extra=extra,
                   evaluation=tmp_path / "train.csv")  # fmt: skip
    _, codes = train(str(job.write(tmp_path / "job.config")), SingleReplica())
    first, last = _steps(tmp_path / "model")
    assert (first, codes) == (0, [])
    assert 0 < last < 10
    lines = (tmp_path / "model/logs/rank-0.jsonl").read_text().splitlines()
    assert "eval" in [json.loads(line)["kind"] for line in lines]


def test_times_and_files_to_come(tmp_path: pathlib.Path) -> None:
    assert DeadLine("4102444800")() is None
    assert "has passed" in str(DeadLine("1000000000")())
    assert StopFile(str(tmp_path))() is None


def test_fit_on_eval_goes_on_to_the_bit(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 96)
    write_data(tmp_path / "eval.csv", 200, seed=1)
    fit = RunOptions(fit_on_eval=True, fit_on_eval_steps=5)
    paths = []
    for name in ("whole", "stopped"):
        job = SmallJob(tmp_path / "train.csv", tmp_path / name, model="FM", evaluation=tmp_path / "eval.csv",
                       train_extra="steps_per_call: 1", data_extra="shuffle: true")  # fmt: skip
        paths.append(str(job.write(tmp_path / f"{name}.config")))
    seen, _ = train(paths[0], SingleReplica(), options=fit)
    assert len(seen) == 96 + 5 * 32
    again, codes = train(paths[1], SingleReplica(), [(2, 0, 15), (6, 0, 15)], options=fit)
    assert codes == [143, 143]
    assert again == seen
    assert_same_bits(str(tmp_path / "whole/model.ckpt-8"), str(tmp_path / "stopped/model.ckpt-8"))
