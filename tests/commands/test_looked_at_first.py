"""What a run needs only later is checked before its first step."""

from __future__ import annotations

import pathlib

import pytest
from commands.running import keep_threads, training
from small_job import SmallJob, write_data

from hvdrec.config.flags import load_for_training, parse_train


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A config, and evaluation data of several kinds next to it."""
    folder = tmp_path_factory.mktemp("first")
    write_data(folder / "rows.csv", 64)
    (folder / "empty.csv").write_text("")
    (folder / "narrow.csv").write_text("1,a,b\n")
    (folder / "words.csv").write_text("half,a1,b1,3,t1,1,2,u1,1\n")
    job = SmallJob(folder / "rows.csv", folder / "model", model="FM", evaluation=folder / "rows.csv")
    return job.write(folder / "x.config")


@pytest.mark.parametrize(
    ("flag", "name", "message"),
    [
        ("--eval_input_path", "nope.csv", "eval_input_path: no such file"),
        ("--eval_input_path", "empty.csv", "the input has no rows"),
        ("--eval_input_path", "narrow.csv", "found 3 columns, expected 9"),
        ("--eval_input_path", "words.csv", "words.csv, row 1"),
        ("--hpo_metric_save_path", "", "--hpo_metric_save_path: can't write"),
        ("--hpo_metric_save_path", "rows.csv/hpo.json", "--hpo_metric_save_path: can't write"),
        ("--hpo_metric_save_path", "rows.csv", "rows.csv would be overwritten, but it is an input"),
        ("--hpo_metric_save_path", "x.config", "x.config would be overwritten, but it is an input"),
        ("--model_dir", "rows.csv", "rows.csv is a file where a folder is needed"),
        ("--export_config.asset_files", "nope.txt", "there is no file"),
        ("--train_config.freeze_gradient", None, "freeze_gradient: every variable is frozen"),
    ],
)
def test_it_is_told_before_the_first_step(
    config: pathlib.Path,
    flag: str,
    name: str | None,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    keep_threads(monkeypatch)
    value = '[".*"]' if name is None else config.parent / name
    given = [f"{flag}={value}"] if "." in flag else [flag, value]
    assert training(config, *given, "--export_config.exporter_type=final") == 2
    err = capfd.readouterr().err
    assert message in err
    assert "global step" not in err
    assert not list((config.parent / "model").glob("model.ckpt*"))


@pytest.mark.parametrize("frozen", ["input_layer.*", "bias|wide|fm"])
def test_half_of_a_model_may_be_frozen(
    config: pathlib.Path,
    frozen: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Only tables are left, or only dense weights; a pattern without effect is told."""
    keep_threads(monkeypatch)
    freeze = f'--train_config.freeze_gradient=["{frozen}", "nobody"]'
    more = ["--train_config.gradient_clipping_by_norm=1", "--model_dir", tmp_path / "half"]
    assert training(config, freeze, *more) == 0
    err = capfd.readouterr().err
    assert "train_config.freeze_gradient[1]: 'nobody' matches no variable" in err
    assert "freeze_gradient[0]" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--eval_method=none", "--export_config.exporter_type=best"],
            "exporter_type: best exports after eval",
        ),
        (["--eval_method=none", "--export_config.exporter_type=latest"], "latest exports after evaluations"),
        (["--eval_method=none", "--export_config.enable_early_stop=true"], "enable_early_stop: needs"),
        (["--eval_method=none", "--hpo_metric_save_path=m.json"], "--hpo_metric_save_path: is written after"),
        (["--eval_input_path=", "--hpo_metric_save_path=m.json"], "--hpo_metric_save_path: needs evaluation"),
        (["--eval_input_path=", "--export_config.exporter_type=best"], "best needs evaluation data"),
        (["--eval_input_path=", "--export_config.enable_early_stop=true"], "enable_early_stop: needs eval"),
        (["--eval_input_path=", "--eval_method=separate"], "--eval_method separate: needs evaluation data"),
        (["--eval_input_path=", "--fit_on_eval"], "--fit_on_eval: the config has no evaluation data"),
    ],
)
def test_contradictions_are_refused(
    config: pathlib.Path, flags: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert training(config, *flags, "--model_dir", config.parent / "other") == 2
    assert message in capfd.readouterr().err
    assert not (config.parent / "other").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--train_config.fine_tune_ckpt_var_map=map.txt", "has no effect without fine_tune_checkpoint"),
        ("--export_config.early_stop_params=3", "has no effect without enable_early_stop"),
        ("--fit_on_eval_steps=3", "has no effect without --fit_on_eval"),
    ],
)
def test_settings_without_effect_are_told(config: pathlib.Path, flag: str, message: str) -> None:
    found = load_for_training(parse_train(["--pipeline_config_path", str(config), flag]))
    assert [text for text in found.warnings if message in text]
