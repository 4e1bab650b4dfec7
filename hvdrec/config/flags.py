"""Command-line flags of the entry points, and the config they lead to."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.config import edit
from hvdrec.config.arguments import FlagParser, boolean, count, take_path_edits
from hvdrec.config.check import check
from hvdrec.config.check_paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.names import enum_name
from hvdrec.config.reader import load
from hvdrec.config.writer import FILE_NAME
from hvdrec.errors import ConfigError

_SEPARATORS = {r"\t": "\t", r"\001": "\x01", r"\x01": "\x01", r"\002": "\x02", r"\x02": "\x02"}

#: Who evaluates new checkpoints during training; see TrainFlags.
EVAL_METHODS = ("master", "separate", "none")


@dataclasses.dataclass(frozen=True)
class TrainFlags:
    """Flags of `hvdrec.train`.

    Attributes:
        pipeline_config_path: The config.
        continue_train: Go on from the newest checkpoint of model_dir.
        model_dir: Replaces the config's.
        train_input_path: Replaces the config's.
        eval_input_path: Replaces the config's.
        selected_cols: Replaces `data_config.selected_cols`.
        fine_tune_checkpoint: Replaces `train_config.fine_tune_checkpoint`.
        ignore_finetune_ckpt_error: Train from scratch where that checkpoint is missing.
        fit_on_eval: Train on the evaluation data too, once training is over.
        fit_on_eval_steps: At most this many steps of it; 0 = until the data ends.
        edits: From `--edit_config_json`.
        hpo_param_path: A JSON file ``{"param": {path: value}}`` with further edits.
        hpo_metric_save_path: Where a line of JSON per evaluation goes.
        allow_user_code: Import and run what `export_config.early_stop_func` names.
        path_edits: From ``--train_config.x=y`` and the like: path -> (value, the flag as written).
        seed: Replaces `train_config.seed`.
        verify_replicas: Steps between two comparisons of the replicas; 0 = none.
        eval_method: Who evaluates: `master` (the ranks that train, together), `separate` (the last
            rank, which doesn't train then) or `none`.
        gpu: The visible devices, as CUDA_VISIBLE_DEVICES has them.
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
    verbose: bool = False
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class EvalFlags:
    """Flags of `hvdrec.eval`.

    Attributes:
        pipeline_config_path: The config, where model_dir has none.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        eval_input_path: Replaces the config's.
        model_dir: Its pipeline.config is used; also where checkpoints are looked for.
        eval_result_path: The result's file, below model_dir.
        distribute_eval: Accepted; evaluation is always split over the ranks.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    eval_input_path: tuple[str, ...] = ()
    model_dir: str | None = None
    eval_result_path: str = "eval_result.txt"
    distribute_eval: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class PredictFlags:
    """Flags of `hvdrec.predict`.

    Attributes:
        input_path: Rows to predict for.
        output_path: Where the predictions go.
        batch_size: Rows predicted at a time.
        with_header: The input's first line names its columns.
        pipeline_config_path: The config, where model_dir has none.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: Its pipeline.config is used; also where checkpoints are looked for.
        saved_model_dir: An exported model to predict with in place of a checkpoint.
        reserved_cols: Input columns to copy, with commas between.
        output_cols: Predictions to write, with commas between.
        output_sep: Between the columns of CSV output.
        output_format: csv or jsonl.
        selected_cols: Replaces `data_config.selected_cols`.
        input_type: Replaces `data_config.input_type`.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    input_path: str
    output_path: str
    batch_size: int = 1024
    with_header: bool = False
    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    model_dir: str | None = None
    saved_model_dir: str | None = None
    reserved_cols: str = "ALL_COLUMNS"
    output_cols: str = "ALL_COLUMNS"
    output_sep: str = "\x01"
    output_format: str = "csv"
    selected_cols: str | None = None
    input_type: str | None = None
    verbose: bool = False
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ExportFlags:
    """Flags of `hvdrec.export`.

    Attributes:
        export_dir: Where the version's folder goes.
        pipeline_config_path: The config, where model_dir has none.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: Its pipeline.config is used; also where checkpoints are looked for.
        asset_files: Files to put into ``assets``, with commas between; ``name:path`` renames.
        clear_export: Remove the older versions once the new one is there.
        export_done_file: A file in `export_dir` that appears when the version is there.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    export_dir: str
    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    model_dir: str | None = None
    asset_files: str = ""
    clear_export: bool = False
    export_done_file: str = ""
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_train(arguments: Sequence[str]) -> TrainFlags:
    """Flags of `hvdrec.train`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.train", "Trains a model described by a pipeline.config.")
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config")
    parser.add_argument("--continue_train", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--model_dir", metavar="DIR", help="replaces the config's model_dir")
    for mode in ("train", "eval"):
        parser.add_argument(
            f"--{mode}_input_path", nargs="*", default=[], metavar="PATH", help="replaces the config's"
        )
    parser.add_argument("--selected_cols", metavar="COLS", help="replaces data_config.selected_cols")
    parser.add_argument(
        "--fine_tune_checkpoint", metavar="PATH", help="replaces train_config.fine_tune_checkpoint"
    )
    parser.add_argument(
        "--ignore_finetune_ckpt_error",
        action="store_true",
        help="train from scratch where that checkpoint is missing",
    )
    parser.add_argument(
        "--fit_on_eval", action="store_true", help="train on the evaluation data too, at the end"
    )
    parser.add_argument(
        "--fit_on_eval_steps", type=count(0), default=0, metavar="N", help="at most N steps of that"
    )
    parser.add_argument(
        "--edit_config_json", metavar="JSON", help='changes, as {"train_config.num_steps": 9}'
    )
    parser.add_argument(
        "--hpo_param_path", metavar="FILE", help='more changes, from a JSON file {"param": {...}}'
    )
    parser.add_argument(
        "--hpo_metric_save_path", metavar="FILE", help="where a line of JSON per evaluation goes"
    )
    parser.add_argument(
        "--allow_user_code", action="store_true", help="run the function that early_stop_func names"
    )
    parser.add_argument("--seed", type=count(0), help="replaces train_config.seed")
    parser.add_argument(
        "--verify_replicas", type=count(0), default=0, metavar="N", help="compare the replicas every N steps"
    )
    parser.add_argument(
        "--eval_method",
        choices=EVAL_METHODS,
        default=EVAL_METHODS[0],
        help="who evaluates new checkpoints: the ranks that train, the last rank alone, or nobody",
    )
    parser.add_argument("--gpu", metavar="IDS", help="the visible devices, as CUDA_VISIBLE_DEVICES has them")
    parser.add_ignored("--check_mode", takes_value=False)
    parser.add_ignored("--odps_config", takes_value=True)
    parser.epilog = "Any field of the config can be set too: --train_config.num_steps=100"
    path_edits, others = take_path_edits(arguments)
    values = parser.parse(others, path_edits=True)
    path = values.pop("pipeline_config_path")
    if not path:
        raise ConfigError("--pipeline_config_path: is missing; give the config to train by")
    written = values.pop("edit_config_json")
    edits = edit.parse_edits(written) if written else {}
    for name in ("train_input_path", "eval_input_path"):
        values[name] = tuple(values[name])
    return TrainFlags(path, edits=edits, path_edits=path_edits, **values)


def _add_restoring_flags(parser: FlagParser) -> None:
    parser.add_argument("--pipeline_config_path", metavar="FILE", help="the config, where model_dir has none")
    parser.add_argument("--model_dir", metavar="DIR", help="the folder with pipeline.config and checkpoints")
    parser.add_argument("--checkpoint_path", metavar="PATH", help="a prefix or folder; by default the newest")
    parser.add_ignored("--odps_config", takes_value=True)


def parse_eval(arguments: Sequence[str]) -> EvalFlags:
    """Flags of `hvdrec.eval`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.eval", "Evaluates a checkpoint.")
    _add_restoring_flags(parser)
    parser.add_argument(
        "--eval_input_path",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="replaces the config's",
    )
    parser.add_argument(
        "--eval_result_path",
        default="eval_result.txt",
        metavar="FILE",
        help="the result's file below model_dir",
    )
    parser.add_argument(
        "--distribute_eval",
        nargs="?",
        const=True,
        default=False,
        type=boolean,
        help="accepted; evaluation is always split over the ranks",
    )
    values = parser.parse(arguments)
    values["eval_input_path"] = tuple(values["eval_input_path"])
    return EvalFlags(**values)


def parse_predict(arguments: Sequence[str]) -> PredictFlags:
    """Flags of `hvdrec.predict`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.predict", "Predicts with a checkpoint or an exported model.")
    _add_restoring_flags(parser)
    parser.add_argument(
        "--saved_model_dir", metavar="DIR", help="an exported model, or the folder with its versions"
    )
    parser.add_argument("--input_path", metavar="PATH", help="rows to predict for")
    parser.add_argument("--output_path", metavar="PATH", help="where the predictions go")
    parser.add_argument("--batch_size", type=count(1), default=1024, help="rows predicted at a time")
    parser.add_argument("--with_header", action="store_true", help="the first line names the columns")
    parser.add_argument(
        "--reserved_cols", default="ALL_COLUMNS", metavar="COLS", help="input columns to copy"
    )
    parser.add_argument("--output_cols", default="ALL_COLUMNS", metavar="COLS", help="predictions to write")
    parser.add_argument(
        "--output_sep", default="\x01", metavar="SEP", help="between the columns of CSV output"
    )
    parser.add_argument("--output_format", choices=("csv", "jsonl"), default="csv", help="csv or jsonl")
    parser.add_argument("--selected_cols", metavar="COLS", help="replaces data_config.selected_cols")
    parser.add_argument("--input_type", metavar="TYPE", help="replaces data_config.input_type")
    values = parser.parse(arguments)
    for name in ("input_path", "output_path"):
        if not values[name]:
            raise ConfigError(f"--{name}: is missing")
    if values["saved_model_dir"] and values["checkpoint_path"]:
        raise ConfigError("--saved_model_dir: can't be given together with --checkpoint_path")
    values["output_sep"] = _SEPARATORS.get(values["output_sep"], values["output_sep"])
    return PredictFlags(**values)


def parse_export(arguments: Sequence[str]) -> ExportFlags:
    """Flags of `hvdrec.export`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser("hvdrec.export", "Exports a checkpoint as a SavedModel.")
    _add_restoring_flags(parser)
    parser.add_argument("--export_dir", metavar="DIR", help="where the version's folder goes")
    parser.add_argument(
        "--asset_files", default="", metavar="FILES", help="files for assets: path or name:path, with commas"
    )
    parser.add_argument(
        "--clear_export",
        nargs="?",
        const=True,
        default=False,
        type=boolean,
        help="remove the older versions once the new one is there",
    )
    parser.add_argument(
        "--export_done_file", default="", metavar="NAME", help="a file of export_dir that says it is done"
    )
    values = parser.parse(arguments)
    if not values["export_dir"]:
        raise ConfigError("--export_dir: is missing")
    if os.path.basename(values["export_done_file"]) != values["export_done_file"]:
        raise ConfigError("--export_done_file: give a name without folders; it goes into export_dir")
    return ExportFlags(**values)


def load_for_training(flags: TrainFlags) -> Config:
    """The config to train by: read, changed by the flags, expanded and checked.

    In EasyRec's order: `--selected_cols`, `--model_dir`, input paths, `--fine_tune_checkpoint`,
    then `--edit_config_json`, ``--train_config.x=y`` and `--hpo_param_path`.

    Raises:
        ConfigError: The config or a flag is wrong.
    """
    if flags.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = flags.gpu
    config = load(flags.pipeline_config_path)
    _set(config, "data_config.selected_cols", flags.selected_cols, "--selected_cols")
    _set(config, "model_dir", flags.model_dir, "--model_dir")
    _set_input(config, "train", flags.train_input_path)
    _set_input(config, "eval", flags.eval_input_path)
    _set(config, "train_config.fine_tune_checkpoint", flags.fine_tune_checkpoint, "--fine_tune_checkpoint")
    _set(config, "train_config.seed", flags.seed, "--seed")
    edit.apply(config, {k: v for k, v in flags.edits.items() if k not in flags.path_edits})
    for path, (value, flag) in flags.path_edits.items():
        edit.apply(config, {path: value}, origin=flag)
    if flags.hpo_param_path:
        flag = "--hpo_param_path"
        edit.apply(config, edit.read_parameters(flags.hpo_param_path, flag), origin=flag)
    _warn_ignored(config, flags.ignored)
    if flags.ignore_finetune_ckpt_error:
        _drop_missing_checkpoint(config)
    plain_paths(config)
    expand(config)
    config.warnings += check(config, "train")
    if flags.fit_on_eval:
        _check_fit_on_eval(config, flags.fit_on_eval_steps)
    if config.proto.export_config.enable_early_stop and flags.eval_method != EVAL_METHODS[0]:
        where = config.where("export_config.enable_early_stop")
        raise ConfigError(
            f"{where}: needs --eval_method {EVAL_METHODS[0]}, as the ranks that train must know"
        )
    return config


def _check_fit_on_eval(config: Config, steps: int) -> None:
    kind = config.proto.WhichOneof("eval_path")
    if kind is None or not getattr(config.proto, kind):
        raise ConfigError("--fit_on_eval: the config names no evaluation data; give --eval_input_path")
    if not steps and not config.proto.data_config.num_epochs:
        raise ConfigError("--fit_on_eval: num_epochs is 0, without end; give --fit_on_eval_steps")


def load_for_eval(flags: EvalFlags) -> Config:
    """The config to evaluate by: model_dir's own, or `--pipeline_config_path`.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    config = _load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    _set_input(config, "eval", flags.eval_input_path)
    plain_paths(config)
    expand(config)
    check(config, "eval")
    return config


def load_for_predict(flags: PredictFlags) -> Config:
    """The config to predict by: the exported model's, model_dir's own, or `--pipeline_config_path`.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    path = flags.pipeline_config_path
    if flags.saved_model_dir:
        path = path or _served_config(flags.saved_model_dir)
    config = _load_restoring(None if flags.saved_model_dir else flags.model_dir, path, flags.ignored)
    _set(config, "data_config.selected_cols", flags.selected_cols, "--selected_cols")
    _set(config, "data_config.input_type", flags.input_type, "--input_type")
    plain_paths(config)
    expand(config)
    check(config, "predict")
    return config


def load_for_export(flags: ExportFlags) -> Config:
    """The config to export by: model_dir's own, or `--pipeline_config_path`.

    Raises:
        ConfigError: There is none, or it is wrong.
    """
    config = _load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    if flags.asset_files and not config.proto.export_config.asset_files:
        config.proto.export_config.asset_files.extend(flags.asset_files.split(","))
    plain_paths(config)
    expand(config)
    config.warnings += check(config, "export")
    return config


def newest_version(saved_model_dir: str) -> str:
    """An exported model's folder: the given one, or the newest version in it.

    Raises:
        ConfigError: There is none.
    """
    if not storage.is_folder(saved_model_dir):
        raise ConfigError(f"--saved_model_dir: there is no folder {saved_model_dir}")
    if storage.exists(storage.join(saved_model_dir, "saved_model.pb")):
        return storage.local(saved_model_dir)
    found = [name for name in storage.folders(saved_model_dir) if name.isdigit()]
    if not found:
        raise ConfigError(f"--saved_model_dir: there is no exported model in {saved_model_dir}")
    return newest_version(storage.join(saved_model_dir, max(found, key=int)))


def _served_config(saved_model_dir: str) -> str:
    """The one config that lies in an exported model."""
    folder = newest_version(saved_model_dir)
    names = storage.listing(folder, recursive=True)
    found = sorted(storage.join(folder, name) for name in names if name.endswith(".config"))
    if len(found) != 1:
        listed = f": {', '.join(found)}" if found else ""
        raise ConfigError(
            f"--saved_model_dir: {len(found)} config files are in {folder}{listed}; "
            "give --pipeline_config_path"
        )
    return found[0]


def _load_restoring(model_dir: str | None, path: str | None, ignored: Sequence[str]) -> Config:
    own = storage.join(model_dir, FILE_NAME) if model_dir else ""
    if own and (storage.exists(own) or not path):
        path = own
    if not path:
        raise ConfigError("--model_dir: is missing; give the folder of a run, or --pipeline_config_path")
    config = load(path)
    _set(config, "model_dir", model_dir, "--model_dir")
    _warn_ignored(config, ignored)
    return config


def _set(config: Config, path: str, value: Any, flag: str) -> None:
    if value is not None:
        edit.apply(config, {path: value}, origin=flag)


def _set_input(config: Config, mode: str, paths: Sequence[str]) -> None:
    """Puts paths, with commas between, into whichever of the input fields is in use."""
    if not paths:
        return
    plain, parquet = f"{mode}_input_path", f"parquet_{mode}_input"
    used = config.proto.WhichOneof(f"{mode}_path")
    if used not in (plain, parquet):
        data_config = config.proto.data_config
        if used is not None:
            config.proto.ClearField(used)
        is_parquet = enum_name(data_config, "input_type").startswith("ParquetInput")
        used = parquet if is_parquet else plain
    _set(config, used, ",".join(paths), f"--{mode}_input_path")


def _warn_ignored(config: Config, flags: Sequence[str]) -> None:
    config.warnings += [f"{flag}: has no effect here" for flag in flags]


def _drop_missing_checkpoint(config: Config) -> None:
    """Clears `fine_tune_checkpoint` where there is no checkpoint."""
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
