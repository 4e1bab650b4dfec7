"""`hvdrec.eval` from its flags to its files."""

from __future__ import annotations

import json
import pathlib

import pytest
from serving.exported import random_job
from small_job import SmallJob, write_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hvdrec.commands.evaluate import evaluate
from hvdrec.config import load, save
from hvdrec.config.flags import load_for_eval, parse_eval
from hvdrec.errors import CheckpointError, ConfigError


@pytest.fixture
def model_dir(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A model_dir with checkpoints of the steps 3 and 7, of different weights."""
    # TensorFlow takes thread counts only before its first operation.
    monkeypatch.setattr("hvdrec.commands.evaluate.set_threads", lambda *_: None)
    for name in ("a", "b"):
        write_data(tmp_path / f"{name}.csv", 50, seed=ord(name))
    job = SmallJob(tmp_path / "a.csv", tmp_path / "model", model="DCN", evaluation=tmp_path / "a.csv")
    config = load(str(job.write(tmp_path / "c.config")))
    for step in (3, 7):
        made = random_job(config, seed=step)
        made.global_step.assign(step)
        made.store.save(step, made.entries(), {})
    save(config, tmp_path / "model")
    return tmp_path / "model"


def _evaluate(model_dir: pathlib.Path, *more: object) -> None:
    flags = parse_eval(["--model_dir", str(model_dir), *map(str, more)])
    evaluate(load_for_eval(flags), flags)


def _result(model_dir: pathlib.Path, name: str = "eval_result.txt") -> dict[str, float]:
    return json.loads((model_dir / name).read_text())


def test_the_newest_checkpoint_on_the_configs_data(
    model_dir: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _evaluate(model_dir)
    result = _result(model_dir)
    assert list(result) == sorted(result)
    losses = {"loss", "loss/loss/cross_entropy_loss", "loss/loss/total_loss"}
    assert result.keys() == {"auc", "gauc", "global_step", *losses}
    assert result["global_step"] == 7
    assert (model_dir / "eval_result.txt").read_text().startswith('{\n  "auc"')
    assert f"auc = {result['auc']:.6g}" in capsys.readouterr().out
    events = EventAccumulator(str(model_dir / "eval"))
    events.Reload()
    assert {"auc", "loss", "roc", "precision_recall/pr_curves"} <= set(events.Tags()["tensors"])


def test_another_checkpoint_other_data_another_place(model_dir: pathlib.Path) -> None:
    _evaluate(model_dir)
    old = ("--checkpoint_path", model_dir / "model.ckpt-3")
    _evaluate(model_dir, *old, "--eval_result_path", "old.txt")
    assert _result(model_dir, "old.txt")["global_step"] == 3
    assert _result(model_dir, "old.txt")["auc"] != _result(model_dir)["auc"]
    a, b = (model_dir.parent / f"{n}.csv" for n in "ab")
    (model_dir.parent / "both.csv").write_text(a.read_text() + b.read_text())
    _evaluate(model_dir, "--eval_input_path", a, "--eval_input_path", b, "--eval_result_path", "two.txt")
    _evaluate(model_dir, "--eval_input_path", model_dir.parent / "both.csv", "--eval_result_path", "one.txt")
    assert _result(model_dir, "one.txt")["auc"] == _result(model_dir, "two.txt")["auc"]
    assert _result(model_dir, "one.txt")["auc"] != _result(model_dir)["auc"]
    _evaluate(model_dir, "--checkpoint_path", model_dir, "--distribute_eval", "true")
    assert _result(model_dir)["global_step"] == 7


def test_mistakes(model_dir: pathlib.Path) -> None:
    with pytest.raises(CheckpointError, match=r"model.ckpt-4"):
        _evaluate(model_dir, "--checkpoint_path", model_dir / "model.ckpt-4")
    with pytest.raises(ConfigError, match="--model_dir: is missing"):
        load_for_eval(parse_eval([]))
    with pytest.raises(ConfigError, match="--is_on_ds: works only on Alibaba's platforms"):
        parse_eval(["--is_on_ds"])
    for path in (model_dir.parent / "a.csv", "pipeline.config", model_dir / "model.ckpt-7.index"):
        with pytest.raises(ConfigError, match="would be overwritten, but it is an input"):
            _evaluate(model_dir, "--eval_result_path", path)
    for path in model_dir.glob("model.ckpt-*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="there is no checkpoint in"):
        _evaluate(model_dir)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001", "manifest.json"])
def test_a_file_of_a_checkpoint_stands_for_it(model_dir: pathlib.Path, ending: str) -> None:
    """Shells complete names of files, not prefixes."""
    _evaluate(model_dir, "--checkpoint_path", model_dir / f"model.ckpt-3.{ending}")
    assert _result(model_dir)["global_step"] == 3


def test_a_checkpoint_that_is_not_there_is_told_with_those_that_are(model_dir: pathlib.Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"model.ckpt-5: there is no .*the folder has model.ckpt-3, model.ckpt-7"
    ):
        _evaluate(model_dir, "--checkpoint_path", model_dir / "model.ckpt-5")
