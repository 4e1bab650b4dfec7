"""Ending training by what evaluations say."""

from __future__ import annotations

import pathlib

import pytest
from small_job import SmallJob, write_data

from hvdrec.config import load, user_code
from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.errors import ConfigError, TrainingError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.early_stop import EarlyStop, find_rule

_SEEN: list[tuple[list[int], str]] = []


def seen_enough(results, params):
    """What a user may write."""
    _SEEN.append((list(results), params))
    return results[max(results)]["auc"] > float(params)


def _config(folder: pathlib.Path, export: str, **fields):
    job = SmallJob(folder / "t.csv", folder / "model", model="FM", evaluation=folder / "t.csv",
                   export=f'exporter_type: "none" enable_early_stop: true {export}', **fields)  # fmt: skip
    return load(str(job.write(folder / "job.config")))


def _stops(folder: pathlib.Path, export: str, values: list[float], allow: bool = False) -> int | None:
    """The step at which the evaluations `values` of steps 10, 20, ... end training."""
    user_code.allow(allow)
    try:
        rule = find_rule(_config(folder, export), ["auc", "loss"])
    finally:
        user_code.allow(False)
    stop = EarlyStop(rule, str(folder / "model"))
    steps = range(10, 10 * len(values) + 1, 10)
    return next((s for s, v in zip(steps, values, strict=True) if stop(s, {"auc": v, "loss": v})), None)


@pytest.mark.parametrize(
    ("export", "values", "step"),
    [
        ("max_check_steps: 20", [0.5, 0.7, 0.6, 0.7, 0.8], 40),
        ("max_check_steps: 21", [0.5, 0.7, 0.6, 0.7, 0.8], None),
        ("max_check_steps: 20 metric_bigger: false", [0.5, 0.4, 0.3, 0.4], None),
        ("max_check_steps: 10", [float("nan"), float("nan"), 0.5, float("nan")], 40),
        (
            'early_stop_func: "evaluations_without_better" early_stop_params: "2"',
            [0.5, 0.4, 0.6, 0.5, 0.5],
            50,
        ),
        ('early_stop_func: "metric_reached" early_stop_params: "0.6"', [0.5, 0.59, 0.6, 0.1], 30),
        (f'early_stop_func: "{__name__}.seen_enough" early_stop_params: "0.6"', [0.5, 0.7], 20),
    ],
)
def test_rules(tmp_path: pathlib.Path, export: str, values: list[float], step: int | None) -> None:
    assert _stops(tmp_path, export, values, allow=True) == step


def test_what_a_function_gets() -> None:
    assert _SEEN[-1] == ([10, 20], "0.6")


def test_mistakes_are_told(tmp_path: pathlib.Path) -> None:
    for export, message in (
        (f'early_stop_func: "{__name__}.seen_enough"', "job.config:.*early_stop_func: .*only with --allow_user_code"),
        ('early_stop_func: "patience"', "there is no rule 'patience'; use one of max_check_steps"),
        ('early_stop_func: "metric_reached" early_stop_params: "x"', "early_stop_params: expected a number, found 'x'"),
        ('early_stop_func: "evaluations_without_better" early_stop_params: "0"', "at least 1"),
        ('best_exporter_metric: "f1"', "evaluations have no 'f1'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            _stops(tmp_path, export, [0.5])
    with pytest.raises(ConfigError, match=r"can't import nowhere\.f"):
        _stops(tmp_path, 'early_stop_func: "nowhere.f"', [0.5], allow=True)
    with pytest.raises(TrainingError, match="seen_enough failed: ValueError"):
        _stops(tmp_path, f'early_stop_func: "{__name__}.seen_enough"', [0.5], allow=True)
    write_data(tmp_path / "t.csv", 8)
    flags = ["--pipeline_config_path", str(tmp_path / "job.config"), "--eval_method", "separate"]
    with pytest.raises(ConfigError, match="enable_early_stop: needs --eval_method master"):
        load_for_training(parse_train(flags))


def test_training_ends_saved_and_its_history_lasts(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "t.csv", 64)
    still = "sgd_optimizer { learning_rate { constant_learning_rate { learning_rate: 1e-30 } } }"
    config = _config(tmp_path, "max_check_steps: 4", steps=40, optimizer=still,
                     train_extra="save_checkpoints_steps: 2")  # fmt: skip
    for again, steps in ((False, 6), (True, 8)):
        job = Job(config, SingleReplica())
        assert "auc" in job.train(again, 0)
        assert job.store.steps()[-1] == steps


def test_a_model_with_several_heads_stops_by_the_named_one(tmp_path: pathlib.Path) -> None:
    """Its AUC of one head never reaches 2, its mean squared error is below that at once."""
    write_data(tmp_path / "t.csv", 64)
    rule = 'early_stop_func: "metric_reached" early_stop_params: "2" metric_bigger:'
    for export, steps in (
        (f'{rule} false best_exporter_metric: "mean_squared_error_value"', 2),
        (f'{rule} true best_exporter_metric: "auc_ctr"', 6),
    ):
        job = SmallJob(
            tmp_path / "t.csv",
            tmp_path / f"model-{steps}",
            model="MMoE",
            evaluation=tmp_path / "t.csv",
            export=f'exporter_type: "none" enable_early_stop: true {export}',
            steps=6,
            metrics="",
            train_extra="save_checkpoints_steps: 2",
        )
        trained = Job(load(str(job.write(tmp_path / "heads.config"))), SingleReplica())
        trained.train(False, 0)
        assert trained.store.steps()[-1] == steps
    job.export, job.model_dir = 'exporter_type: "none" enable_early_stop: true', tmp_path / "none"
    with pytest.raises(
        ConfigError, match=r"have no 'auc', .* use one of .*auc_ctr.*mean_squared_error_value"
    ):
        Job(load(str(job.write(tmp_path / "heads.config"))), SingleReplica()).train(False, 0)
