"""`emr -t standalone ... -c "python -m easy_rec.python.train_eval ..."`: the arguments of EMR's el_submit."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from hvdrec.config import splitting
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.config.names import enum_name, hint
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError
from hvdrec.launcher.run import TRAIN, Run
from hvdrec.launcher.servers import evaluators_of

_MODULES = {
    **{f"easy_rec.python.{name}": f"hvdrec.{name}" for name in ("eval", "predict", "export")},
    "easy_rec.python.train_eval": TRAIN,
    **{f"hvdrec.{name}": f"hvdrec.{name}" for name in ("train", "eval", "predict", "export")},
}
#: Resources of el_submit that can't be limited on a plain machine: flag -> description.
_LIMITS = {
    "wc": "cores of a worker",
    "wm": "memory of a worker",
    "pc": "cores of a parameter server",
    "pm": "memory of a parameter server",
}
#: Strategies under which one machine trains with a rank for each of its GPUs.
_REPLICATED = ("MirroredStrategy", "MultiWorkerMirroredStrategy", "HorovodStrategy", *splitting.STRATEGIES)


def parse(arguments: Sequence[str]) -> Run:
    """The run described by el_submit's arguments.

    Raises:
        ConfigError: An argument is invalid, or the command of `-c` is not one of EasyRec's.
    """
    parser = FlagParser("hvdrec.launch emr", "Accepts the arguments of EMR's el_submit.")
    parser.add_argument("-t", choices=("standalone", "tensorflow-ps"), required=True, help="kind of job")
    parser.add_argument("-a", metavar="NAME", help="name of the job")
    parser.add_argument("-f", metavar="FILES", default="", help="comma-separated files that the job needs")
    parser.add_argument("-m", default="local", metavar="MODE", help="only local is supported")
    parser.add_argument("-wn", type=count(1), default=1, metavar="N", help="workers")
    parser.add_argument("-wg", type=count(0), default=0, metavar="N", help="GPUs of a worker")
    parser.add_argument("-pn", type=count(0), default=0, metavar="N", help="parameter servers")
    for name, what in _LIMITS.items():
        parser.add_argument(f"-{name}", type=count(0), metavar="N", help=what)
    parser.add_argument(
        "-c", required=True, metavar="COMMAND", help="python -m easy_rec.python.train_eval ..."
    )
    values = parser.parse(arguments)
    if values["m"] != "local":
        raise ConfigError(
            f"-m {values['m']}: only local is supported; start ranks on several machines with mpirun"
        )
    for path in filter(None, values["f"].split(",")):
        if not os.path.exists(path):
            raise ConfigError(f"-f {path}: there is no such file")
    module, flags = split_command(values["c"])
    ignored = tuple(
        f"-{name} {values[name]}: this launcher sets no limit on the {what}"
        for name, what in _LIMITS.items()
        if values[name] is not None
    )
    if values["t"] == "tensorflow-ps":
        if not values["pn"]:
            raise ConfigError("-pn: a tensorflow-ps job needs parameter servers")
        if module != TRAIN:
            raise ConfigError(f"-t tensorflow-ps: {module} runs in one process; use -t standalone")
        gpus = ("--train_config.num_gpus_per_worker", str(values["wg"])) if values["wg"] > 1 else ()
        return Run(module, (*flags, *gpus), values["wn"], values["pn"], evaluators_of(flags), ignored=ignored)
    if values["pn"]:
        raise ConfigError("-pn: a standalone job has no parameter servers; use -t tensorflow-ps")
    if values["wn"] > 1:
        raise ConfigError(
            "-wn: a standalone job has one worker; give it GPUs with -wg, or use -t tensorflow-ps"
        )
    return Run(module, flags, _ranks(module, flags, values["wg"]), ignored=ignored)


def _ranks(module: str, flags: Sequence[str], gpus: int) -> int:
    """One rank per GPU if the config trains with replicas, else one process."""
    if module != TRAIN or gpus < 2:
        return 1
    place = [i for i, flag in enumerate(flags) if flag.split("=")[0] == "--pipeline_config_path"]
    if not place:
        raise ConfigError("-c: --pipeline_config_path is missing")
    written = flags[place[-1]]
    path = written.partition("=")[2] or (flags[place[-1] + 1] if place[-1] + 1 < len(flags) else "")
    strategy = enum_name(load(path).proto.train_config, "train_distribute")
    return gpus if strategy in _REPLICATED else 1


def split_command(written: str) -> tuple[str, tuple[str, ...]]:
    """Entry point and flags of ``python -m easy_rec.python.train_eval --flag ...``.

    Quotes work as in a shell; nothing is evaluated.

    Raises:
        ConfigError: A quote is not closed, a shell would evaluate something, or the command is unknown.
    """
    special = _evaluated(written)
    if special:
        raise ConfigError(
            f"-c: {special!r} would be evaluated by a shell, but no shell is used here; quote it"
        )
    try:
        words = shlex.split(written)
    except ValueError as error:
        raise ConfigError(f"-c: {error}: {written}") from None
    python = os.path.basename(words[0]) if words else ""
    if not python.startswith("python") or len(words) < 3 or words[1] != "-m":
        raise ConfigError(f"-c: expected python -m easy_rec.python.train_eval ..., found {written[:60]!r}")
    if words[2] not in _MODULES:
        raise ConfigError(f"-c: {words[2]} is not known; {hint(words[2], _MODULES)}")
    return _MODULES[words[2]], tuple(words[3:])


def _evaluated(written: str) -> str:
    """The first character with a special meaning in a shell; empty if there is none."""
    quote = ""
    characters = iter(written)
    for character in characters:
        if quote == "'":
            quote = "" if character == "'" else quote
        elif character == "\\":
            next(characters, "")
        elif character in "$`":
            return character
        elif quote:
            quote = "" if character == '"' else quote
        elif character in "\"'":
            quote = character
        elif character in ";|&<>()\n*?#~":
            return character
    return ""
