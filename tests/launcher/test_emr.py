"""el_submit's arguments become a run; their command is split like in a shell, and nothing is evaluated."""

from __future__ import annotations

import pathlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdrec.errors import ConfigError
from hvdrec.launcher.emr import parse, split_command

COMMAND = "python -m easy_rec.python.train_eval --pipeline_config_path {path} --continue_train"


def _words(path: pathlib.Path, *more: str) -> list[str]:
    words = ["-a", "easy_rec_train", "-f", str(path), "-m", "local", "-wc", "6", "-wm", "20000"]
    return [*words, *more, "-c", COMMAND.format(path=path)]


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "x.config"
    path.write_text("train_config { train_distribute: MultiWorkerMirroredStrategy }")
    return path


def test_one_process(config: pathlib.Path) -> None:
    run = parse(_words(config, "-t", "standalone", "-wn", "1", "-wg", "1"))
    assert run.module == "hvdrec.train"
    assert run.ranks == 1
    assert run.arguments == ("--pipeline_config_path", str(config), "--continue_train")
    assert [text.split()[0] for text in run.ignored] == ["-wc", "-wm"]


def test_a_rank_for_each_gpu(config: pathlib.Path) -> None:
    assert parse(_words(config, "-t", "standalone", "-wg", "2")).ranks == 2
    config.write_text("train_config { train_distribute: NoStrategy }")
    assert parse(_words(config, "-t", "standalone", "-wg", "2")).ranks == 1


def test_parameter_servers(config: pathlib.Path) -> None:
    words = ["-t", "tensorflow-ps", "-pn", "1", "-pc", "4", "-pm", "20000", "-wn", "3"]
    run = parse(_words(config, *words))
    assert (run.ranks, run.servers, run.evaluators) == (3, 1, 0)
    run = parse(_words(config, *words, "-wg", "2"))
    assert run.arguments[-2:] == ("--train_config.num_gpus_per_worker", "2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-t", "standalone", "-m", "yarn"], "-m yarn"),
        (["-t", "standalone", "-wn", "2"], "one worker"),
        (["-t", "standalone", "-pn", "1"], "tensorflow-ps"),
        (["-t", "tensorflow-ps"], "-pn"),
        (["-t", "tensorflow"], "standalone"),
        (["-t", "standalone", "-f", "missing.config"], "missing.config"),
        (["-t", "standalone", "-wn", "none"], "integer"),
    ],
)
def test_mistakes_have_one_clear_line(config: pathlib.Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse([*words, "-c", COMMAND.format(path=config)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command", ["", "python", "sh -c x", "python -m os.system x", "python x.py", "python '-m"]
)
def test_only_known_commands(command: str) -> None:
    with pytest.raises(ConfigError):
        split_command(command)


@pytest.mark.parametrize(
    "tail", ["; ls", "$(ls)", "`ls`", '"$HOME"', "> x", "| x", "& x", "*.config", "a\nb"]
)
def test_what_a_shell_would_evaluate_is_refused(tail: str) -> None:
    with pytest.raises(ConfigError, match="evaluated"):
        split_command(f"python -m hvdrec.train --x {tail}")


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)))
def test_quoting_is_a_shells(words: list[str]) -> None:
    module, flags = split_command(shlex.join(["python3", "-m", "easy_rec.python.eval", *words]))
    assert module == "hvdrec.eval"
    assert flags == tuple(words)
