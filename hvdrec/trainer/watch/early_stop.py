"""Ends training when evaluations say so (`export_config.enable_early_stop`)."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Sequence

import numpy as np

from hvdrec.config import Config, user_code
from hvdrec.errors import ConfigError, TrainingError
from hvdrec.trainer.watch.history import Evaluations

_FIELD = "export_config.early_stop_func"

#: All evaluations by step, in order -> why to end training, or None.
Rule = Callable[[dict[int, dict[str, float]]], "str | None"]


class EarlyStop:
    """Asks a rule after every evaluation (for rank 0)."""

    def __init__(self, rule: Rule, model_dir: str) -> None:
        """Counts the evaluations of earlier runs in `model_dir` too."""
        self._rule = rule
        self._evaluations = Evaluations(model_dir)

    def __call__(self, step: int, result: dict[str, float]) -> str | None:
        """Why to end training after this evaluation, or None."""
        # Earlier runs' are read back as float32: two equal ones mustn't differ by how they are kept.
        rounded = {name: float(np.float32(value)) for name, value in result.items()}
        return self._rule(self._evaluations.add(step, rounded))


def find_rule(config: Config, evaluated: Sequence[str]) -> Rule | None:
    """The rule that `export_config` asks for, None without `enable_early_stop`.

    Args:
        config: The run's.
        evaluated: What an evaluation gives.

    Raises:
        ConfigError: There is no such rule, or it can't be loaded.
    """
    export = config.proto.export_config
    if not export.enable_early_stop:
        return None
    name = export.early_stop_func
    if name and name not in RULES:
        if "." in name:
            return _user_rule(config, name, export.early_stop_params)
        hint = f"use one of {', '.join(RULES)}, or a dotted path to your own function with {user_code.FLAG}"
        raise ConfigError(f"{config.where(_FIELD)}: there is no rule {name!r}; {hint}")
    metric = export.best_exporter_metric
    if metric not in evaluated:
        raise ConfigError(
            f"{config.where('export_config.best_exporter_metric')}: no evaluation gives {metric!r}, by which "
            f"to end training; there are {', '.join(evaluated)}"
        )
    return RULES[name or "max_check_steps"](config)


def _steps_without_better(config: Config) -> Rule:
    """The best is `max_check_steps` steps old."""
    export = config.proto.export_config
    metric, most = export.best_exporter_metric, int(export.max_check_steps)

    def rule(found: dict[int, dict[str, float]]) -> str | None:
        best, last = _best_step(found, metric, export.metric_bigger), next(reversed(found))
        if best is None or last - best < most:
            return None
        since = f"{last - best} steps (max_check_steps {most})"
        return f"{metric} has been no better than at step {best} for {since}"

    return rule


def _evaluations_without_better(config: Config) -> Rule:
    """The best is as many evaluations old as `early_stop_params` says."""
    export = config.proto.export_config
    metric, most = export.best_exporter_metric, int(_number(config))
    if most < 1 or most != _number(config):
        raise ConfigError(f"{_params(config)}: expected a number of evaluations, 1 or more")

    def rule(found: dict[int, dict[str, float]]) -> str | None:
        best = _best_step(found, metric, export.metric_bigger)
        since = 0 if best is None else sum(step > best for step in found)
        if since < most:
            return None
        return f"{metric} has been no better than at step {best} in {since} evaluations"

    return rule


def _metric_reached(config: Config) -> Rule:
    """The metric is as good as `early_stop_params` says."""
    export = config.proto.export_config
    metric, wanted = export.best_exporter_metric, _number(config)

    def rule(found: dict[int, dict[str, float]]) -> str | None:
        value = next(reversed(found.values())).get(metric, math.nan)
        reached = math.isfinite(value) and (value >= wanted if export.metric_bigger else value <= wanted)
        return f"{metric} has reached {value:g}, {wanted:g} is asked for" if reached else None

    return rule


#: What `early_stop_func` may name; the first is the rule without it.
RULES: dict[str, Callable[[Config], Rule]] = {
    "max_check_steps": _steps_without_better,
    "evaluations_without_better": _evaluations_without_better,
    "metric_reached": _metric_reached,
}


def _user_rule(config: Config, name: str, parameters: str) -> Rule:
    """EasyRec's ``f(eval_results, params) -> bool``, imported by its dotted path."""
    try:
        function = user_code.find_function(name)
    except ValueError as error:
        raise ConfigError(f"{config.where(_FIELD)}: {error}") from error

    def rule(found: dict[int, dict[str, float]]) -> str | None:
        try:
            stop = function(collections.OrderedDict(found), parameters)
        except Exception as error:
            raise TrainingError(f"early_stop_func {name} failed: {type(error).__name__}: {error}") from error
        return f"{name} asks for it" if stop else None

    return rule


def _best_step(found: dict[int, dict[str, float]], metric: str, bigger: bool) -> int | None:
    """The first step with the best value; what isn't finite is never the best."""
    values = {s: v[metric] for s, v in found.items() if math.isfinite(v.get(metric, math.nan))}
    return (max if bigger else min)(values, key=lambda s: values[s]) if values else None


def _params(config: Config) -> str:
    return config.where("export_config.early_stop_params")


def _number(config: Config) -> float:
    written = config.proto.export_config.early_stop_params
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{_params(config)}: expected a number, found {written!r}")
    return number
