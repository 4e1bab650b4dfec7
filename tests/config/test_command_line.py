"""The entry points as a user starts them: one line, exit code 2, and no TensorFlow for a mistake."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from multirank.launch import start as launch
from small_job import SmallJob

from hvdrec.commands.main import main
from hvdrec.config.flags import parse_train

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def config(tmp_path: pathlib.Path) -> str:
    return str(SmallJob(pathlib.Path("rows.csv"), tmp_path / "run").write(tmp_path / "x.config"))


def start(module: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-m", f"hvdrec.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    ("module", "arguments", "problem"),
    [
        ("train", ["--pipeline_config_path", "nowhere.config"], "nowhere.config: can't be read"),
        ("train", ["--pipline_config_path", "CONFIG"], "did you mean --pipeline_config_path?"),
        (
            "train",
            ["--pipeline_config_path", "CONFIG", "--edit_config_json", '{"train_config.num_stepz": 5}'],
            'TrainConfig has no field "num_stepz"; did you mean num_steps?',
        ),
        (
            "train",
            ["--pipeline_config_path", "CONFIG", "--model_config.num_class=0"],
            "must be at least 1, is 0",
        ),
        ("eval", ["--model_dir", "nowhere"], "nowhere/pipeline.config: can't be read"),
        ("predict", ["--model_dir", "nowhere"], "--input_path: is missing"),
    ],
)
def test_a_mistake_is_told_in_one_line(config, module, arguments, problem):
    done = start(module, *(config if a == "CONFIG" else a for a in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("hvdrec: error: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_under_a_launcher_rank_0_tells_of_it(config):
    """The others leave it to rank 0, whose end ends them."""
    wrong = ["-m", "hvdrec.train", "--pipeline_config_path", config, "--model_config.num_class=0"]
    done = launch("mpirun", 3, wrong)
    assert done.returncode == 2
    assert done.stderr.count("hvdrec: error: ") == 1


def test_a_rank_that_rank_0_leaves_alone_tells_it_itself(monkeypatch, capsys):
    waited = []
    monkeypatch.setattr("hvdrec.commands.main.time.sleep", waited.append)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "2")
    assert main(parse_train, lambda flags: 0, ["--pipline_config_path", "x"]) == 2
    assert "did you mean --pipeline_config_path?" in capsys.readouterr().err
    assert len(waited) == 1


def test_several_mistakes_take_a_line_each_and_verbose_adds_the_trace(config):
    wrong = ["--pipeline_config_path", config, "--model_config.num_class=0", "--data_config.batch_size=0"]
    done = start("train", *wrong)
    assert done.returncode == 2
    assert [line.startswith("hvdrec: error: --") for line in done.stderr.splitlines()] == [True, True]
    verbose = start("train", *wrong, "--verbose")
    assert verbose.returncode == 2
    assert verbose.stderr.startswith("Traceback")
    assert verbose.stderr.endswith(done.stderr)


def test_a_mistake_is_told_before_tensorflow_is_imported(config):
    wrong = ["--pipeline_config_path", config, "--model_config.num_class=0"]
    done = start("train", *wrong, options=("-X", "importtime"))
    assert done.returncode == 2
    assert "hvdrec.config" in done.stderr
    assert not re.search(r"\| +tensorflow$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(("module", "flag"), [("train", "--continue_train"), ("eval", "--eval_result_path")])
def test_help(module, flag):
    done = start(module, "--help")
    assert done.returncode == 0
    assert flag in done.stdout
