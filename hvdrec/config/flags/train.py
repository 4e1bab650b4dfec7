"""Flags of `hvdrec.train`, and the config they select."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.config import edit, user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import (
    add_odps_config,
    add_user_code,
    need_words,
    set_field,
    set_input,
    warn_ignored,
)
from hvdrec.config.flags.contradictions import check_contradictions
from hvdrec.config.flags.parser import FlagParser, count, devices, take_path_edits
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError

#: Which ranks evaluate new checkpoints during training; see TrainFlags.
EVAL_METHODS = ("master", "separate", "none")


@dataclasses.dataclass(frozen=True)
class TrainFlags:
    """Flags of `hvdrec.train`.

    Attributes:
        pipeline_config_path: The config.
        continue_train: Continue from the newest checkpoint in model_dir.
        model_dir: Replaces the config's value.
        train_input_path: Replaces the config's value.
        eval_input_path: Replaces the config's value.
        selected_cols: Replaces `data_config.selected_cols`.
        fine_tune_checkpoint: Replaces `train_config.fine_tune_checkpoint`.
        ignore_finetune_ckpt_error: Train from scratch if that checkpoint is missing.
        fit_on_eval: After training, also train on the evaluation data.
        fit_on_eval_steps: The maximum number of those steps; 0 = until the data ends.
        edits: The edits of `--edit_config_json`.
        hpo_param_path: A JSON file ``{"param": {path: value}}`` with further edits.
        hpo_metric_save_path: The file for one line of JSON per evaluation.
        allow_user_code: Import and run user code that the config names.
        path_edits: The edits of ``--train_config.x=y`` and similar flags: path -> (value, the flag as
            written).
        seed: Replaces `train_config.seed`.
        verify_replicas: The number of steps between comparisons of the replicas; 0 = never.
        eval_method: Which ranks evaluate: `master` (all ranks that train), `separate` (the last rank, which
            then doesn't train) or `none`.
        gpu: The visible devices, in the format of CUDA_VISIBLE_DEVICES.
        check_mode: Check the config and all rows; train nothing.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    pipeline_config_path: str
    continue_train: bool = False
    model_dir: str | None = None
    train_input_path: tuple[str, ...] = ()
    eval_input_path: tuple[str, ...] = ()
    selected_cols: str | None = None
    fine_tune_checkpoint: str | None = None
    ignore_finetune_ckpt_error: bool = False
    fit_on_eval: bool = False
    fit_on_eval_steps: int = 0
    edits: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    path_edits: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    hpo_param_path: str | None = None
    hpo_metric_save_path: str | None = None
    allow_user_code: bool = False
    seed: int | None = None
    verify_replicas: int = 0
    eval_method: str = EVAL_METHODS[0]
    gpu: str | None = None
    check_mode: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_train(arguments: Sequence[str]) -> TrainFlags:
    """Flags of `hvdrec.train`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser("hvdrec.train", "Trains a model described by a pipeline.config.")
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config")
    parser.add_argument("--continue_train", action="store_true", help="continue from the newest checkpoint")
    parser.add_argument("--model_dir", metavar="DIR", help="replaces the config's model_dir")
    for mode in ("train", "eval"):
        parser.add_argument(
            f"--{mode}_input_path", nargs="+", default=[], metavar="PATH", help="replaces the config's"
        )
    parser.add_argument("--selected_cols", metavar="COLS", help="replaces data_config.selected_cols")
    parser.add_argument(
        "--fine_tune_checkpoint", metavar="PATH", help="replaces train_config.fine_tune_checkpoint"
    )
    parser.add_argument(
        "--ignore_finetune_ckpt_error",
        action="store_true",
        help="train from scratch if that checkpoint is missing",
    )
    parser.add_argument(
        "--fit_on_eval", action="store_true", help="after training, also train on the evaluation data"
    )
    parser.add_argument(
        "--fit_on_eval_steps", type=count(0), default=0, metavar="N", help="train on it for at most N steps"
    )
    parser.add_argument(
        "--edit_config_json", metavar="JSON", help='changes, as {"train_config.num_steps": 9}'
    )
    parser.add_argument(
        "--hpo_param_path", metavar="FILE", help='more changes, from a JSON file {"param": {...}}'
    )
    parser.add_argument(
        "--hpo_metric_save_path", metavar="FILE", help="file for one line of JSON per evaluation"
    )
    add_user_code(parser)
    parser.add_argument("--seed", type=count(0), help="replaces train_config.seed")
    parser.add_argument(
        "--verify_replicas", type=count(0), default=0, metavar="N", help="compare the replicas every N steps"
    )
    parser.add_argument(
        "--eval_method",
        choices=EVAL_METHODS,
        default=EVAL_METHODS[0],
        help="which ranks evaluate new checkpoints: all that train, only the last, or none",
    )
    parser.add_argument(
        "--gpu",
        type=devices,
        metavar="IDS",
        help="the visible devices, in the format of CUDA_VISIBLE_DEVICES",
    )
    parser.add_argument(
        "--check_mode", action="store_true", help="check the config and all rows; train nothing"
    )
    add_odps_config(parser)
    parser.epilog = "Any field of the config can be set too: --train_config.num_steps=100"
    path_edits, others = take_path_edits(arguments)
    values = parser.parse(others, path_edits=True)
    need_words(values, "model_dir", "train_input_path")
    path = values.pop("pipeline_config_path")
    if not path:
        raise ConfigError("--pipeline_config_path: is missing; give the config to train with")
    written = values.pop("edit_config_json")
    edits = edit.parse_edits(written) if written else {}
    return TrainFlags(path, edits=edits, path_edits=path_edits, **values)


def load_for_training(flags: TrainFlags) -> Config:
    """The config for training: read, changed by the flags, expanded and checked.

    The flags are applied in EasyRec's order: `--selected_cols`, `--model_dir`, input paths,
    `--fine_tune_checkpoint`, then `--edit_config_json`, ``--train_config.x=y`` and `--hpo_param_path`.

    Raises:
        ConfigError: The config or a flag is invalid.
    """
    if flags.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = flags.gpu
    user_code.allow(flags.allow_user_code)
    config = load(flags.pipeline_config_path)
    set_field(config, "data_config.selected_cols", flags.selected_cols, "--selected_cols")
    set_field(config, "model_dir", flags.model_dir, "--model_dir")
    set_input(config, "train", flags.train_input_path)
    set_input(config, "eval", flags.eval_input_path)
    set_field(
        config, "train_config.fine_tune_checkpoint", flags.fine_tune_checkpoint, "--fine_tune_checkpoint"
    )
    set_field(config, "train_config.seed", flags.seed, "--seed")
    _apply_edits(config, flags)
    warn_ignored(config, flags.ignored)
    if flags.ignore_finetune_ckpt_error:
        _drop_missing_checkpoint(config)
    plain_paths(config)
    expand(config)
    config.warnings += check(config, "train")
    check_contradictions(config, flags)
    return config


def _apply_edits(config: Config, flags: TrainFlags) -> None:
    """Applies all flags that contain field paths to the config.

    Raises:
        ConfigError: Edits can't be applied; one line for each.
    """
    changes = [(edit.FLAG, {k: v for k, v in flags.edits.items() if k not in flags.path_edits})]
    changes += [(flag, {path: value}) for path, (value, flag) in flags.path_edits.items()]
    if flags.hpo_param_path:
        flag = "--hpo_param_path"
        changes.append((flag, edit.read_parameters(flags.hpo_param_path, flag)))
    problems: list[str] = []
    for origin, edits in changes:
        try:
            edit.apply(config, edits, origin=origin)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def _drop_missing_checkpoint(config: Config) -> None:
    """Clears `fine_tune_checkpoint` if the checkpoint doesn't exist."""
    train_config = config.proto.train_config
    path = train_config.fine_tune_checkpoint
    if not path or storage.exists(f"{path}.index"):
        return
    if storage.is_folder(path) and any(name.endswith(".index") for name in storage.listing(path)):
        return
    config.warnings.append(
        f"{config.where('train_config.fine_tune_checkpoint')}: there is no checkpoint at {path}; "
        "training starts from scratch"
    )
    train_config.ClearField("fine_tune_checkpoint")
