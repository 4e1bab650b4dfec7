"""The common result of all command forms: a description of a run, and its processes."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping, Sequence

from hvdrec.config.flags import load_for_training, parse_train
from hvdrec.config.names import enum_name
from hvdrec.errors import ConfigError
from hvdrec.launcher.ports import free_ports
from hvdrec.parallel.cluster import CHIEF, EVALUATOR, SERVER, WORKER
from hvdrec.parallel.launch import launch_command
from hvdrec.storage.secrets import is_secret

TRAIN = "hvdrec.train"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, independent of the command form.

    Attributes:
        module: The entry point, such as ``hvdrec.train``.
        arguments: Its flags.
        ranks: The number of processes that train (or evaluate, or predict) together.
        servers: The number of parameter servers; 0 = Horovod replicas.
        evaluators: The number of evaluation processes of a run on parameter servers, 0 or 1.
        restarts: The maximum number of restarts after a failure.
        ignored: Descriptions of requests that can't be met on this machine.
        environment: Environment variables for all processes.
    """

    module: str
    arguments: tuple[str, ...]
    ranks: int = 1
    servers: int = 0
    evaluators: int = 0
    restarts: int = 0
    ignored: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Process:
    """A command of a run.

    Attributes:
        role: Its role in the run.
        command: Program and arguments.
        environment: Environment variables in addition to the launcher's.
    """

    role: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def processes(run: Run) -> tuple[Process, ...]:
    """The commands to start for a run.

    Raises:
        ConfigError: The flags or the config of a run on servers are invalid.
        UserError: horovodrun isn't installed.
    """
    if run.servers:
        return _cluster(run)
    if run.ranks == 1 and not run.restarts:
        return (Process("process", (sys.executable, "-m", run.module, *run.arguments)),)
    return (Process("horovodrun", tuple(launch_command(run.ranks, run.module, run.arguments))),)


def _cluster(run: Run) -> tuple[Process, ...]:
    """One process per role, servers first, on free ports of this machine.

    A worker with several GPUs becomes one process per GPU.
    """
    config = load_for_training(parse_train(run.arguments))
    strategy = enum_name(config.proto.train_config, "train_distribute")
    if strategy not in ("NoStrategy", "PSStrategy"):
        raise ConfigError(
            f"{config.where('train_config.train_distribute')}: {strategy} has no parameter servers; give "
            "--train_config.train_distribute=PSStrategy"
        )
    workers = run.ranks * config.proto.train_config.num_gpus_per_worker
    counts = {SERVER: run.servers, WORKER: workers, CHIEF: 1, EVALUATOR: run.evaluators}
    ports = iter(free_ports(sum(counts.values())))
    addresses = {role: [f"127.0.0.1:{next(ports)}" for _ in range(count)] for role, count in counts.items()}
    cluster = {role: found for role, found in addresses.items() if role != EVALUATOR}
    command = (sys.executable, "-m", run.module, *run.arguments)
    return tuple(
        Process(
            role if counts[role] == 1 else f"{role}-{index}",
            command,
            {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": role, "index": index}})},
        )
        for role, count in counts.items()
        for index in range(count)
    )


def render(run: Run, started: Sequence[Process]) -> str:
    """The commands and their environment as shell text, without keys; ignored requests are comments."""
    lines = [f"# ignored: {text}" for text in run.ignored]
    for process in started:
        environment = {**process.environment, **run.environment}
        shown = {name: "***" if is_secret(name) else value for name, value in environment.items()}
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(shown.items())]
        lines.append(" ".join([*variables, shlex.join(process.command)]))
    return "\n".join(lines)
