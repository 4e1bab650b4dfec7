"""`pai -Dconfig=... -Dcmd=train ...`: the command form of Alibaba's PAI."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from hvdrec import storage
from hvdrec.config.flags import EVAL_METHODS
from hvdrec.config.names import hint, listed
from hvdrec.errors import ConfigError
from hvdrec.launcher.run import Run
from hvdrec.launcher.servers import evaluators_of
from hvdrec.storage import maxcompute, oss

#: -Dcmd -> entry point.
_COMMANDS = {
    "train": "hvdrec.train",
    "evaluate": "hvdrec.eval",
    "predict": "hvdrec.predict",
    "export": "hvdrec.export",
    "check": "hvdrec.train",
}
#: -D parameter -> flag, for each command; this module reads those in `_CONTROL`.
_FLAGS = {
    "train": {
        "config": "--pipeline_config_path",
        "model_dir": "--model_dir",
        "train_tables": "--train_input_path",
        "eval_tables": "--eval_input_path",
        "selected_cols": "--selected_cols",
        "edit_config_json": "--edit_config_json",
        "fine_tune_checkpoint": "--fine_tune_checkpoint",
        "hpo_param_path": "--hpo_param_path",
        "hpo_metric_save_path": "--hpo_metric_save_path",
        "sampler_table": "--data_config.negative_sampler.input_path",
    },
    "check": {
        "config": "--pipeline_config_path",
        "tables": "--train_input_path",
        "edit_config_json": "--edit_config_json",
    },
    "evaluate": {
        "config": "--pipeline_config_path",
        "model_dir": "--model_dir",
        "eval_tables": "--eval_input_path",
        "tables": "--eval_input_path",
        "checkpoint_path": "--checkpoint_path",
        "eval_result_path": "--eval_result_path",
        "distribute_eval": "--distribute_eval",
    },
    "predict": {
        "config": "--pipeline_config_path",
        "model_dir": "--model_dir",
        "input_table": "--input_path",
        "tables": "--input_path",
        "output_table": "--output_path",
        "checkpoint_path": "--checkpoint_path",
        "saved_model_dir": "--saved_model_dir",
        "batch_size": "--batch_size",
        "reserved_cols": "--reserved_cols",
        "output_cols": "--output_cols",
        "model_outputs": "--output_cols",
        "selected_cols": "--selected_cols",
    },
    "export": {
        "config": "--pipeline_config_path",
        "model_dir": "--model_dir",
        "export_dir": "--export_dir",
        "checkpoint_path": "--checkpoint_path",
        "asset_files": "--asset_files",
    },
}
_CONTROL = (
    *("cmd", "cluster", "eval_method", "with_evaluator", "continue_train", "num_gpus_per_worker"),
    "distribute_strategy",
)
#: Settings of Alibaba's storage: they become environment variables, and aren't shown.
_STORAGE = ("arn", "buckets", "ossHost")
#: Parameters of EasyRec's commands without effect here -> reason; they are reported as ignored.
_WITHOUT_EFFECT = {
    "version": "the installed program is used",
    "res_project": "the installed program is used",
    "extra_params": "works only on PAI",
    "lifecycle": "files don't expire",
    "all_cols": "the columns come from the input",
    "all_col_types": "the columns come from the input",
    "excluded_cols": "the model reads only the columns that it needs",
    "profiling_file": "use train_config.is_profiling",
}
#: EasyRec's other parameters -> the reason why they are refused.
_REFUSED = {
    "fg_json_path": "set the file in the config's fg_json_path",
    "boundary_table": "boundaries are read from feature_config; hvdrec.tools.add_boundaries_to_config "
    "computes them",
    "place_embedding_on_cpu": "is not supported",
    "clear_model": "remove model_dir yourself",
}
#: -Ddistribute_strategy -> `train_distribute`.
_STRATEGIES = {
    "mirrored": "MirroredStrategy",
    "collective": "MultiWorkerMirroredStrategy",
    "ps": "PSStrategy",
}


def parse(arguments: Sequence[str]) -> Run:
    """The run described by PAI's parameters.

    Raises:
        ConfigError: A parameter is unknown, invalid or not supported here.
    """
    if any(argument in ("-h", "--help") for argument in arguments):
        print(_help())
        sys.exit(0)
    values = _parameters(arguments)
    command = values.get("cmd", "train")
    if command not in _COMMANDS:
        raise ConfigError(f"-Dcmd={command}: is not supported; use one of {', '.join(_COMMANDS)}")
    _check_names(values, command)
    values, unused = _settled(values, command)
    flags: list[str] = []
    for name, flag in _FLAGS[command].items():
        if values.get(name):
            flags += _flag(name, flag, values[name])
    ranks, servers, ignored = _cluster(values.get("cluster", ""))
    evaluators = 0
    if command == "check":
        flags.append("--check_mode")
    if command == "train":
        flags += _train_flags(values, ranks, servers)
        # One of the workers evaluates; with Horovod it is the last rank.
        evaluators = evaluators_of(flags) if servers else 0
    else:
        servers = 0
    return Run(
        *(_COMMANDS[command], tuple(flags), ranks - evaluators, servers, evaluators),
        ignored=(*unused, *ignored),
        environment=_storage(values),
    )


def _parameters(arguments: Sequence[str]) -> dict[str, str]:
    """Values of -Dname=value; PAI's ``-name X`` and ``-project X`` are ignored."""
    values: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument in ("-name", "-project") and waiting:
            waiting.pop(0)
            continue
        name, separator, value = argument[2:].partition("=")
        if not argument.startswith("-D") or not separator or not name:
            raise ConfigError(f"{argument}: parameters of the PAI form must be written as -Dname=value")
        if name in values:
            raise ConfigError(f"-D{name}: is given twice")
        values[name] = value
    return values


def _help() -> str:
    """The parameters of each command."""
    lines = ["usage: python -m hvdrec.launch pai [--print] -Dname=value ...", ""]
    for command, flags in _FLAGS.items():
        lines.append(f"  -Dcmd={command}: {', '.join(dict.fromkeys((*flags, *_CONTROL[1:])))}")
    lines += ["", f"  every command: {', '.join(_STORAGE)}", f"  ignored: {', '.join(_WITHOUT_EFFECT)}"]
    return "\n".join(lines)


def _settled(values: Mapping[str, str], command: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The parameters with one name each, and descriptions of the ignored ones.

    EasyRec's train uses the first of ``-Dtables`` if ``-Dtrain_tables`` is not given, and the second if
    ``-Deval_tables`` is not given.

    Raises:
        ConfigError: Too few tables are given.
    """
    settled = dict(values)
    unused = [f"{name}: {why}" for name, why in _WITHOUT_EFFECT.items() if settled.pop(name, None)]
    if command == "train" and settled.get("tables"):
        tables = [table.strip() for table in settled.pop("tables").split(",")]
        if settled.get("train_tables"):
            unused.append("tables: -Dtrain_tables and -Deval_tables are used instead")
        elif len(tables) < 2 and not settled.get("eval_tables"):
            raise ConfigError(
                "-Dtables: expected two tables, for training and evaluation; or give -Dtrain_tables"
            )
        else:
            unused += [f"tables: {table} is neither the first nor the second" for table in tables[2:]]
            settled["train_tables"] = tables[0]
            settled["eval_tables"] = settled.get("eval_tables") or tables[1]
    if settled.get("output_cols") and settled.pop("model_outputs", None):
        unused.append("model_outputs: -Doutput_cols selects the predictions")
    if _boolean("with_evaluator", settled.pop("with_evaluator", "") or "false"):
        settled["eval_method"] = "separate"
    return settled, tuple(unused)


def _check_names(values: Mapping[str, str], command: str) -> None:
    known = (*_FLAGS[command], *_CONTROL, *_STORAGE, *_WITHOUT_EFFECT, "tables")
    for name in values:
        if name in _REFUSED:
            raise ConfigError(f"-D{name}: {_REFUSED[name]}")
        if name not in known:
            raise ConfigError(f"-D{name}: -Dcmd={command} has no such parameter; {hint(name, known)}")


def _flag(name: str, flag: str, value: str) -> list[str]:
    if not name.endswith(("tables", "_table")):
        return [flag, value]
    tables = [table.strip() for table in value.split(",") if table.strip()]
    for table in tables:
        if name == "output_table" or not maxcompute.is_table(table):
            storage.check(table, f"-D{name}")
    if flag in ("--input_path", "--output_path"):
        return [flag, ",".join(tables)]
    return [flag, *tables]


def _train_flags(values: Mapping[str, str], ranks: int, servers: int) -> list[str]:
    flags = []
    if _boolean("continue_train", values.get("continue_train", "true")):
        flags.append("--continue_train")
    method = values.get("eval_method", EVAL_METHODS[0])
    if method not in EVAL_METHODS:
        raise ConfigError(f"-Deval_method={method}: use one of {', '.join(EVAL_METHODS)}")
    if method == "separate" and ranks < 2:
        raise ConfigError(
            "-Deval_method=separate: uses one worker for evaluation, but -Dcluster has only one"
        )
    if method != EVAL_METHODS[0]:
        flags += ["--eval_method", method]
    strategy = values.get("distribute_strategy", "")
    if strategy and strategy not in _STRATEGIES:
        raise ConfigError(f"-Ddistribute_strategy={strategy}: use one of {', '.join(_STRATEGIES)}")
    if servers and strategy not in ("", "ps"):
        raise ConfigError(
            f"-Ddistribute_strategy={strategy}: does not use parameter servers, but -Dcluster has some"
        )
    if strategy == "ps" and not servers:
        raise ConfigError("-Ddistribute_strategy=ps: -Dcluster has no ps")
    if strategy:
        flags += ["--train_config.train_distribute", _STRATEGIES[strategy]]
    if values.get("num_gpus_per_worker"):
        flags += ["--train_config.num_gpus_per_worker", values["num_gpus_per_worker"]]
    return flags


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"-D{name}={value}: expected true or false")
    return value.lower() in ("true", "1")


def _cluster(written: str) -> tuple[int, int, tuple[str, ...]]:
    """Workers, servers, and the limits that can't be set on a plain machine."""
    if not written:
        return 1, 0, ()
    cluster = _json("cluster", written)
    ignored = []
    counts = {"worker": 1, "ps": 0}
    for role, wanted in cluster.items():
        if role not in counts:
            raise ConfigError(f"-Dcluster: {role!r} is not a role; {hint(role, counts)}")
        if not isinstance(wanted, dict):
            raise ConfigError(f'-Dcluster: {role} must be an object, such as {{"count": 1}}')
        for name, value in wanted.items():
            if name not in ("count", "cpu", "gpu", "memory"):
                known = ("count", "cpu", "gpu", "memory")
                raise ConfigError(f"-Dcluster: {role}.{name} is not a resource; {hint(name, known)}")
            if (
                isinstance(value, bool)
                or not isinstance(value, int)
                or value < (role == "worker" and name == "count")
            ):
                raise ConfigError(f"-Dcluster: {role}.{name} must be a number, found {json.dumps(value)}")
            if name != "count":
                ignored.append(f"{role}.{name}={value}: this launcher sets no such limit")
        counts[role] = wanted.get("count", counts[role])
    return counts["worker"], counts["ps"], tuple(ignored)


def _json(name: str, written: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [key for key, _ in pairs]
        double = sorted({key for key in names if names.count(key) > 1})
        if double:
            raise ValueError(f"{listed(double)} given twice")
        return dict(pairs)

    try:
        value = json.loads(written, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"-D{name}: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"-D{name}: must be a JSON object, found {written[:40]}")
    return value


def _storage(values: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for Alibaba's storage and roles, as read by `hvdrec.storage`."""
    environment = {}
    if values.get("ossHost"):
        environment[oss.ENDPOINT_VARIABLE] = values["ossHost"]
    if values.get("arn"):
        environment[oss.ROLE_VARIABLE] = values["arn"]
    buckets: dict[str, dict[str, str]] = {}
    for bucket in filter(None, values.get("buckets", "").split(",")):
        place, _, query = bucket.partition("?")
        if not place.startswith("oss://"):
            raise ConfigError("-Dbuckets: each bucket must begin with oss://")
        own = dict(parse_qsl(query))
        for key in own:
            if key not in ("role_arn", "host"):
                raise ConfigError(f"-Dbuckets: {key} is unknown; {hint(key, ('role_arn', 'host'))}")
        buckets[place.removeprefix("oss://").partition("/")[0]] = own
    if any(buckets.values()):
        environment[oss.BUCKETS_VARIABLE] = json.dumps(buckets)
    return environment
