"""Obstacles to a run's output are reported before it trains."""

from __future__ import annotations

import pathlib
import shutil
from types import SimpleNamespace

import pytest

from hvdrec.errors import ConfigError, WriteError
from hvdrec.trainer.run.places import need_file, need_folder, need_no_other_parts, need_places


@pytest.mark.parametrize("name", ["logs", "eval_val", "export", "best_ckpt"])
def test_a_file_where_a_folder_is_needed(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match=rf"model_dir: .*/{name} is a file where a folder is needed"):
        need_places(str(tmp_path), 1)


@pytest.mark.parametrize("name", ["pipeline.config", "checkpoint", "eval_result.txt"])
def test_a_folder_where_a_file_is_needed(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=rf"model_dir: .*/{name} is a folder where a file is needed"):
        need_places(str(tmp_path), 1)


def test_what_is_as_it_should_be_stays_untouched(tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "pipeline.config").write_text("x")
    need_places(str(tmp_path), 1)
    need_places(str(tmp_path / "not/there/yet"), 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs", "pipeline.config"]


def test_a_disk_without_room_for_a_checkpoint(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4_000_000))
    need_places(str(tmp_path), 4_000_000)
    with pytest.raises(WriteError, match="a checkpoint takes 5 MB, and its disk has 4 MB left") as error:
        need_places(str(tmp_path), 5_000_000)
    assert error.value.exit_code == 1


def test_places_that_cannot_be_written() -> None:
    with pytest.raises(ConfigError, match=r"--export_dir: can't write in /proc: "):
        need_folder("/proc/none/here", "--export_dir")
    with pytest.raises(ConfigError, match=r"--eval_result_path: can't write in /proc: "):
        need_file("/proc/none", "--eval_result_path")


def test_a_path_through_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"--export_dir: .*/file is a file where a folder is needed"):
        need_folder(str(tmp_path / "file/below"), "--export_dir")


def test_parts_of_more_ranks_are_not_left_beside_new_ones(tmp_path: pathlib.Path) -> None:
    for name in ("part-1.csv", "part-2.csv", "part-3.jsonl", "part-x.csv"):
        (tmp_path / name).touch()
    part, given = str(tmp_path / "part-0.csv"), str(tmp_path)
    need_no_other_parts(part, given, "--output_path", 3)
    need_no_other_parts(str(tmp_path / "part-0.tsv"), given, "--output_path", 1)
    need_no_other_parts(str(tmp_path / "new/part-0.csv"), f"{given}/new", "--output_path", 1)
    # A single file of that name, as given by the user.
    need_no_other_parts(part, part, "--output_path", 1)
    with pytest.raises(
        ConfigError, match=r"--output_path: .* contains part-2[.]csv of a run with more ranks"
    ):
        need_no_other_parts(part, given, "--output_path", 2)
