"""Joins the group of processes this one was started with, or starts one."""

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
    # Horovod ends for all processes when the first ones leave: a group of one process skips it.
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
    # What it would keep in the home folder is of use on other machines only.
    options = ["-np", str(ranks), "--disable-cache"]
    return [horovodrun, *options, sys.executable, "-m", module, *arguments]


def relaunch(ranks: int, arguments: Sequence[str]) -> None:
    """Replaces this process by the launcher of `ranks` ranks that train; doesn't return.

    Args:
        ranks: How many.
        arguments: The flags of `hvdrec.train`.
    """
    command = [sys.executable, "-m", "hvdrec.launch", "local", "-np", str(ranks), "--", *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)
