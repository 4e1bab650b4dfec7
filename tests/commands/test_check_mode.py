"""`hvdrec.train --check_mode` reads every row, and leaves nothing behind."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob, write_data

from hvdrec import train
from hvdrec.commands.main import main
from hvdrec.config.flags import parse_train


def _check(config: pathlib.Path, *flags: str) -> int:
    return main(parse_train, train.run, ["--pipeline_config_path", str(config), "--check_mode", *flags])


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, rows in (("rows.csv", 100), ("eval.csv", 40)):
        write_data(tmp_path / name, rows)
    job = SmallJob(tmp_path / "rows.csv", tmp_path / "model", evaluation=tmp_path / "eval.csv", steps=1)
    return job.write(tmp_path / "x.config")


def test_it_counts_the_rows_and_writes_nothing(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(config) == 0
    assert "100 rows for training and 40 rows for evaluation" in capsys.readouterr().out
    assert not (config.parent / "model").exists()


@pytest.mark.parametrize("name", ["rows.csv", "eval.csv"])
def test_the_last_row_is_checked_too(
    config: pathlib.Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (config.parent / name).open("a") as file:
        file.write("1,a1,b1,one,t1,0.5,1,u1,1\n")
    assert _check(config) == 2
    assert f"{name}, row {101 if name == 'rows.csv' else 41}, column 'c'" in capsys.readouterr().err


def test_a_wrong_separator_is_named(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(config, r"--data_config.separator=;") == 2
    err = capsys.readouterr().err
    assert "found 1 columns, expected 9; check data_config.separator, which is ';'" in err


def test_training_data_that_is_missing_has_its_own_name(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(config, "--train_input_path", "nope.csv") == 2
    assert "train_input_path: no such file: nope.csv" in capsys.readouterr().err


def test_an_input_of_which_nothing_can_be_used_is_refused(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(config, r"--data_config.separator=;", "--data_config.ignore_error=true") == 2
    assert "train_input_path: all of the 100 rows that were read were skipped" in capsys.readouterr().err


def test_columns_without_any_value_are_named(config: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As where a key of a record is misspelt: everything takes its default."""
    for name in ("rows.csv", "eval.csv"):
        rows = [line.split(",") for line in (config.parent / name).read_text().splitlines()]
        emptied = [[*row[:3], "", "", *row[5:]] for row in rows]
        emptied[-1][3:5] = ["2", "t1"]
        (config.parent / name).write_text("".join(",".join(row) + "\n" for row in emptied))
    assert _check(config) == 0
    assert "has a value" not in capfd.readouterr().err
    (config.parent / "rows.csv").write_text("".join(",".join(row) + "\n" for row in emptied[:-1]))
    assert _check(config) == 0
    err = capfd.readouterr().err
    assert "training: no row has a value for c, tags, so defaults were used; are the names right?" in err
    assert "evaluation: no row" not in err
