"""What every command form ends in: one description of a run, and the processes it takes."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence

from hvdrec.errors import ConfigError
from hvdrec.parallel.launch import launch_command

TRAIN = "hvdrec.train"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, whatever form it was asked for in.

    Attributes:
        module: The entry point, as ``hvdrec.train``.
        arguments: Its flags.
        ranks: Processes that train (or evaluate, or predict) together.
        servers: Parameter servers; 0 = Horovod replicas.
        ignored: What was asked for and can't be had on this machine, in words.
    """

    module: str
    arguments: tuple[str, ...]
    ranks: int = 1
    servers: int = 0
    ignored: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Process:
    """One command of a run.

    Attributes:
        role: What it is in the run.
        command: Program and arguments.
        environment: Variables it gets besides those of the launcher.
    """

    role: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def processes(run: Run) -> tuple[Process, ...]:
    """The commands to start for a run.

    Raises:
        ConfigError: It needs what isn't supported.
        UserError: horovodrun isn't installed.
    """
    if run.servers:
        raise ConfigError(
            "parameter servers are not supported yet; ask for workers only: they train as Horovod ranks"
        )
    if run.ranks == 1:
        return (Process("process", (sys.executable, "-m", run.module, *run.arguments)),)
    return (Process("horovodrun", tuple(launch_command(run.ranks, run.module, run.arguments))),)


def render(run: Run, started: Sequence[Process]) -> str:
    """The commands and their environment as shell text, what is ignored as comments."""
    lines = [f"# ignored: {text}" for text in run.ignored]
    for process in started:
        variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(process.environment.items())]
        lines.append(" ".join([*variables, shlex.join(process.command)]))
    return "\n".join(lines)
