"""Every command has a help text; a command that can't start isn't started."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob

from hvdrec import doctor, launch
from hvdrec.commands.main import main
from hvdrec.errors import ConfigError
from hvdrec.launcher.run import Run, processes


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--help"], "--print shows"),
        (["local", "--help"], "-np N"),
        (["ps", "-h"], "--workers"),
        (["pai", "--help"], "-Dcmd=predict: config"),
        (["emr", "--help"], "-wn"),
    ],
)
def test_launch(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(launch.parse, launch.run, arguments)
    assert ended.value.code == 0
    assert word in capsys.readouterr().out


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["doctor", "--help"])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 0
    assert "exit code" in capsys.readouterr().out


def test_print_may_stand_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.run(["local", "-np", "1", "--print", "--pipeline_config_path", "x.config"]) is None
    assert "hvdrec.train --pipeline_config_path x.config" in capsys.readouterr().out


def test_servers_need_a_strategy_that_has_them(tmp_path: pathlib.Path) -> None:
    extra = "train_distribute: HorovodStrategy"
    config = SmallJob(tmp_path / "rows.csv", tmp_path / "m", train_extra=extra).write(tmp_path / "x.config")
    flags = ("--pipeline_config_path", str(config))
    with pytest.raises(ConfigError, match="HorovodStrategy has no parameter servers; give --train_config"):
        processes(Run("hvdrec.train", flags, 1, 1))
    started = processes(Run("hvdrec.train", (*flags, "--train_config.train_distribute=PSStrategy"), 1, 1))
    assert [process.role for process in started] == ["ps", "worker", "chief"]
