"""Joins the group that this process was started in, or starts one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hvdrec.errors import UserError
from hvdrec.parallel.environment import launched_size

if TYPE_CHECKING:
    from hvdrec.parallel.group import ReplicaGroup


def join_group(separate: bool = False) -> ReplicaGroup:
    """The group that this process was started in.

    Horovod is imported only when there is more than one process.

    Args:
        separate: Whether to exclude the last process from training, as its own group.

    Raises:
        UserError: Horovod is needed but can't be used, or there is no process to exclude.
    """
    if separate and launched_size() == 1:
        raise UserError("--eval_method separate: excludes one process from training; start at least two")
    from hvdrec.parallel.single import SingleReplica

    if launched_size() == 1:
        return SingleReplica()
    from hvdrec.parallel.horovod import HorovodReplicas

    group = HorovodReplicas(separate)
    if group.size > 1:
        return group
    # Horovod ends for all processes when the first one leaves, so a group of one process doesn't use it.
    return SingleReplica(group)


def launch_command(ranks: int, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that starts `ranks` processes of a module of this package.

    Raises:
        UserError: horovodrun isn't installed with this Python.
    """
    beside = Path(sys.executable).parent / "horovodrun"
    horovodrun = str(beside) if beside.exists() else shutil.which("horovodrun")
    if horovodrun is None:
        raise UserError("horovodrun is not installed next to this Python; run `make build` to install it")
    # Its cache in the home folder is useful only for other machines.
    options = ["-np", str(ranks), "--disable-cache"]
    return [horovodrun, *options, sys.executable, "-m", module, *arguments]


def relaunch(ranks: int, arguments: Sequence[str]) -> None:
    """Replaces this process by the launcher of `ranks` training ranks; doesn't return.

    Args:
        ranks: The number of ranks.
        arguments: The flags of `hvdrec.train`.
    """
    command = [sys.executable, "-m", "hvdrec.launch", "local", "-np", str(ranks), "--", *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
