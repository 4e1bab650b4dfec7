"""Small runs of the entry points within this process."""

from __future__ import annotations

import pathlib

import pytest

from hvdrec.commands import main, predict, train
from hvdrec.commands.evaluate import evaluate
from hvdrec.commands.predict import predict as run_predict
from hvdrec.commands.train import train as run_train
from hvdrec.config.flags import (
    load_for_eval,
    load_for_predict,
    load_for_training,
    parse_eval,
    parse_predict,
    parse_train,
)


def keep_threads(patch: pytest.MonkeyPatch) -> None:
    """TensorFlow takes thread counts only before its first operation."""
    for module in (train, predict):
        patch.setattr(module, "set_threads", lambda *_: None)
    patch.setattr("hvdrec.commands.evaluate.set_threads", lambda *_: None)


def training(config: pathlib.Path, *flags: object) -> int:
    """Trains by a config; the exit code."""
    given = ["--pipeline_config_path", str(config), *map(str, flags)]
    return main.main(parse_train, lambda found: run_train(load_for_training(found), found), given)


def evaluation(*flags: object) -> int:
    """Evaluates; the exit code."""
    given = [*map(str, flags)]
    return main.main(parse_eval, lambda found: evaluate(load_for_eval(found), found), given)


def prediction(*flags: object) -> int:
    """Predicts; the exit code."""
    given = [*map(str, flags)]
    return main.main(parse_predict, lambda found: run_predict(load_for_predict(found), found), given)
