"""Continuing: with the unfinished input, with a finished one, and with another one."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import pytest
from commands.running import keep_threads, training
from small_job import SmallJob, write_data

from hvdrec.data.batch import InputPosition
from hvdrec.trainer import job as job_module


def _write_days(folder: pathlib.Path) -> None:
    for name, rows in (("day1", 96), ("day2", 160), ("eval", 64)):
        write_data(folder / f"{name}.csv", rows, seed=len(name) + rows)


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Rows of two days and for evaluation: 3, 5 and 2 batches."""
    keep_threads(monkeypatch)
    _write_days(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the folder of `trained`, as each test gets it."""
    folder = tmp_path_factory.mktemp("new_data") / "run"
    folder.mkdir()
    _write_days(folder)
    job = SmallJob(
        folder / "day1.csv",
        folder / "model",
        model="FM",
        evaluation=folder / "eval.csv",
        metrics="metrics_set { auc {} }",
    )
    path = job.write(folder / "x.config")
    path.write_text(path.read_text().replace("num_epochs: 1", "num_epochs: 2"))
    with pytest.MonkeyPatch.context() as patch:
        keep_threads(patch)
        assert training(path) == 0
    return folder.rename(folder.with_name("kept"))


@pytest.fixture
def trained(first_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The config of a run that has trained two epochs of the first day: 6 steps."""
    keep_threads(monkeypatch)
    folder = first_run.with_name("run")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(first_run, folder)
    return folder / "x.config"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[InputPosition]:
    """Where the inputs of the runs to come begin."""
    seen: list[InputPosition] = []
    opened = job_module.open_batches

    def open_batches(proto, plan, group, training, position=None, **more):
        if training:
            seen.append(position)
        return opened(proto, plan, group, training, position, **more)

    monkeypatch.setattr(job_module, "open_batches", open_batches)
    return seen


def _latest(folder: pathlib.Path) -> int:
    return max(int(p.name[11:-6]) for p in (folder / "model").glob("*.index"))


def _kept(folder: pathlib.Path) -> dict:
    return json.loads((folder / f"model/model.ckpt-{_latest(folder)}.manifest.json").read_text())["extra"]


def test_another_days_rows_are_trained_from_the_first(
    trained: pathlib.Path, begun: list[InputPosition], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = trained.parent
    assert (_latest(folder), _kept(folder)["epoch"]) == (6, 2)
    assert training(trained, "--continue_train", "--train_input_path", folder / "day2.csv") == 0
    assert begun == [InputPosition()]
    assert (_latest(folder), _kept(folder)["epoch"]) == (6 + 10, 2)
    assert "with another input" in capfd.readouterr().err
    # And that day is finished now; the first one isn't.
    assert training(trained, "--continue_train", "--train_input_path", folder / "day2.csv") == 2
    assert training(trained, "--continue_train") == 0
    assert _latest(folder) == 16 + 6


@pytest.mark.parametrize("change", ["content", "middle", "more", "another file"])
def test_what_counts_as_another_input(trained: pathlib.Path, begun: list[InputPosition], change: str) -> None:
    folder = trained.parent
    day, rows = folder / "day1.csv", (folder / "day1.csv").read_text().splitlines(keepends=True)
    if change == "content":
        day.write_text("".join(reversed(rows)))
    elif change == "middle":
        day.write_text("".join([*rows[:30], *reversed(rows[30:60]), *rows[60:]]))
    elif change == "more":
        day.write_text("".join([*rows, rows[0]]))
    more = ["--train_input_path", f"{day},{folder / 'day2.csv'}"] if change == "another file" else []
    assert training(trained, "--continue_train", *more) == 0
    assert begun == [InputPosition()]
    assert _latest(folder) > 6


def test_the_same_rows_elsewhere_go_on(trained: pathlib.Path, begun: list[InputPosition]) -> None:
    folder = trained.parent
    shutil.copyfile(folder / "day1.csv", folder / "moved.csv")
    os.utime(folder / "day1.csv", (1, 1))
    for path in ("moved.csv", "day1.csv"):
        assert training(trained, "--continue_train", "--train_input_path", folder / path) == 2
    flags = ["--train_input_path", folder / "moved.csv", "--data_config.num_epochs=3"]
    assert training(trained, "--continue_train", *flags) == 0
    assert begun[-1] == InputPosition(2, 0)
    assert _latest(folder) == 9


def test_what_is_finished_says_so(trained: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = trained.parent
    before = sorted((p.name, p.stat().st_mtime_ns) for p in (folder / "model").glob("model.ckpt*"))
    assert training(trained, "--continue_train") == 2
    assert "num_epochs: 2 epochs of this input are done; raise num_epochs" in capfd.readouterr().err
    assert training(trained, "--continue_train", "--train_config.num_steps=6") == 2
    assert "num_steps: step 6 of 6 is reached; raise num_steps" in capfd.readouterr().err
    new = ["--train_input_path", folder / "day2.csv"]
    assert training(trained, "--continue_train", "--train_config.num_steps=6", *new) == 2
    assert "num_steps: step 6 of 6 is reached" in capfd.readouterr().err
    assert sorted((p.name, p.stat().st_mtime_ns) for p in (folder / "model").glob("model.ckpt*")) == before
    assert training(trained, "--continue_train", "--train_config.num_steps=8", *new) == 0
    assert _latest(folder) == 8


def test_a_run_that_was_cut_off_behind_its_last_step_comes_to_its_end(
    trained: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (trained.parent / "model/ESTIMATOR_TRAIN_DONE").unlink()
    (trained.parent / "model/eval_result.txt").unlink()
    assert training(trained, "--continue_train") == 0
    assert "the previous run did not finish" in capfd.readouterr().err
    assert (trained.parent / "model/eval_result.txt").exists()
    assert (trained.parent / "model/ESTIMATOR_TRAIN_DONE").exists()


def test_a_checkpoint_that_does_not_know_its_input(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As those of versions that didn't keep it."""
    path = SmallJob(folder / "day1.csv", folder / "model", model="FM").write(folder / "x.config")
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "describe", lambda files: {})
        assert training(path) == 0
    assert "sha256" not in _kept(folder)["input"]
    new = ["--train_input_path", folder / "day2.csv", "--data_config.num_epochs=2"]
    assert training(path, "--continue_train", *new) == 0
    assert (_latest(folder), _kept(folder)["epoch"]) == (3 + 5, 2)
    err = capfd.readouterr().err
    assert "doesn't record which input its position belongs to" in err
    assert "day1.csv' before" in err
    assert "sha256" in _kept(folder)["input"]


def test_evaluation_data_is_trained_on_again_after_another_days(
    trained: pathlib.Path, begun: list[InputPosition]
) -> None:
    """`--fit_on_eval` of yesterday doesn't keep today's rows from being trained on."""
    folder = trained.parent
    fit = ["--continue_train", "--fit_on_eval", "--data_config.num_epochs=1"]
    assert training(trained, *fit) == 0
    assert _latest(folder) == 6 + 2
    assert training(trained, *fit) == 2
    assert training(trained, *fit, "--train_input_path", folder / "day2.csv") == 0
    assert _latest(folder) == 8 + 5 + 2
    write_data(folder / "eval.csv", 96, seed=5)
    assert training(trained, *fit, "--train_input_path", folder / "day2.csv") == 0
    assert _latest(folder) == 15 + 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data_config.batch_size=500", "--data_config.drop_remainder=true"], "fewer rows than one batch"),
        (["--train_config.dead_line=20200101 08:00:00"], "dead_line 20200101 08:00:00 has passed"),
    ],
)
def test_a_first_run_without_a_step_fails(
    folder: pathlib.Path, flags: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = SmallJob(folder / "day1.csv", folder / "model", model="FM").write(folder / "x.config")
    assert training(path, *flags) == 2
    assert message in capfd.readouterr().err
    assert not list((folder / "model").glob("model.ckpt*"))
