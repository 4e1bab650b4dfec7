"""Which processes belong together: what launchers leave in the environment."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hvdrec.errors import UserError

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup

#: Number of processes, as horovodrun --gloo, Open MPI, MPICH and MVAPICH put it.
_SIZE_VARIABLES = ("HOROVOD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK_VARIABLES = ("HOROVOD_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def launched_size(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes the launcher started; 1 when there was none."""
    return _first_number(_SIZE_VARIABLES, environment, 1)


def launched_rank(environment: Mapping[str, str] = os.environ) -> int:
    """This process's number among them; 0 when there was no launcher."""
    return _first_number(_RANK_VARIABLES, environment, 0)


def _first_number(names: Sequence[str], environment: Mapping[str, str], default: int) -> int:
    values = (environment.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdigit()), default)


def join_group(separate: bool = False) -> ReplicaGroup:
    """The group this process was started in.

    Horovod is imported only when there is more than one process.

    Args:
        separate: Leave the last process out of training, as a group of its own.

    Raises:
        UserError: Horovod is needed and can't be used, or there is no process to leave out.
    """
    if separate and launched_size() == 1:
        raise UserError("--eval_method separate: leaves one process out of training; start two or more")
    from hvdrec.parallel.single import SingleReplica

    if launched_size() == 1:
        return SingleReplica()
    from hvdrec.parallel.horovod import HorovodReplicas

    group = HorovodReplicas(separate)
    if group.size > 1:
        return group
    # Horovod ends for all processes when the first ones leave: whoever is alone does without it.
    return SingleReplica(group)


def launch_command(ranks: int, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that starts `ranks` processes of a module of this package.

    Raises:
        UserError: horovodrun isn't installed beside this Python.
    """
    beside = Path(sys.executable).parent / "horovodrun"
    horovodrun = str(beside) if beside.exists() else shutil.which("horovodrun")
    if horovodrun is None:
        raise UserError("horovodrun is not installed beside this Python; `make build` installs it")
    return [horovodrun, "-np", str(ranks), sys.executable, "-m", module, *arguments]


def relaunch(ranks: int, module: str, arguments: Sequence[str]) -> None:
    """Replaces this process by `ranks` of its kind; doesn't return.

    Raises:
        UserError: horovodrun isn't installed.
    """
    command = launch_command(ranks, module, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
