"""Rows that `ignore_error` leaves out: batches and inputs that contain no other rows."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from commands.running import keep_threads, training
from small_job import SmallJob, write_data


@pytest.fixture
def config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Of batches of eight rows, in the file's order."""
    keep_threads(monkeypatch)
    write_data(tmp_path / "rows.csv", 48)
    extra = "shuffle: false ignore_error: true"
    job = SmallJob(tmp_path / "rows.csv", tmp_path / "model", model="FM", batch_size=8, data_extra=extra)
    return job.write(tmp_path / "x.config")


def _spoil(path: pathlib.Path, rows: range, line: str) -> None:
    """Puts a line that can't be used in place of some."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line if i in rows else kept for i, kept in enumerate(lines)) + "\n")


#: One that the reader leaves out, and one that the packer does.
BAD = ("too,few", "x,a1,b1,3,t1,1,2,u1,1")


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("rows", [range(8), range(16, 32), range(40, 48)], ids=["first", "middle", "last"])
def test_batches_of_nothing_else_do_not_end_a_run(
    config: pathlib.Path, rows: range, line: str, tmp_path: pathlib.Path
) -> None:
    _spoil(tmp_path / "rows.csv", rows, line)
    assert training(config, "--train_config.steps_per_call=2") == 0
    records = [json.loads(text) for text in (tmp_path / "model/logs/rank-0.jsonl").read_text().splitlines()]
    (end,) = [record for record in records if record["kind"] == "end"]
    assert end["samples"] == 48 - len(rows)
    assert end["input"]["bad_rows"] == len(rows)


@pytest.mark.parametrize("line", BAD)
@pytest.mark.parametrize("length", ["--data_config.num_epochs=2", "--train_config.num_steps=9"])
def test_an_input_of_nothing_else_is_refused(
    config: pathlib.Path, line: str, length: str, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _spoil(tmp_path / "rows.csv", range(48), line)
    endless = ["--data_config.num_epochs=0"] if "num_steps" in length else []
    assert training(config, length, *endless) == 2
    err = capfd.readouterr().err
    assert re.search(r"data_config\.ignore_error: all of the \d+ rows", err)
    assert "rows.csv, row 1" in err
    assert not list((tmp_path / "model").glob("model.ckpt*"))


def test_a_run_in_which_no_row_has_a_weight_is_refused(
    config: pathlib.Path, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("".join(f"{line.rpartition(',')[0]},0\n" for line in lines))
    assert training(config, "--data_config.sample_weight=weight") == 2
    assert "column 'weight' was 0 in all rows, so nothing was trained" in capfd.readouterr().err
    lines[3] = f"{lines[3].rpartition(',')[0]},1"
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    assert training(config, "--data_config.sample_weight=weight", "--model_dir", tmp_path / "other") == 0
