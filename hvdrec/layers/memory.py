"""How much memory a process can have: what can't be held is refused before it is asked for.

Linux grants more than there is, and kills whoever uses it; in a container it is the cgroup's limit that
counts.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import NamedTuple

import psutil

from hvdrec.errors import ConfigError

#: Where cgroups are, of version 2 and of version 1, and the file with the limit.
_GROUPS = ((Path("/sys/fs/cgroup"), "memory.max"), (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"))
_OWN_GROUPS = Path("/proc/self/cgroup")


class Limit(NamedTuple):
    """The most that something lets a process have.

    Attributes:
        size: In bytes.
        where: What limits it, in words that a size follows.
    """

    size: int
    where: str


def limits(processes: int = 1, in_group: int | None = None) -> list[Limit]:
    """What limits each process of one job.

    Args:
        processes: How many of them this machine runs.
        in_group: How many of them are in this process's cgroup; None: all.
    """
    sharing = processes if in_group is None else in_group
    found = [Limit(psutil.virtual_memory().total // processes, f"{_each(processes)}this machine has")]
    group = _group_limit()
    if group is not None:
        found.append(Limit(group // sharing, f"{_each(sharing)}the container (cgroup) may use"))
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        found.append(Limit(max(0, soft - psutil.Process().memory_info().vms), "ulimit -v leaves"))
    return found


def need(size: int, what: str, processes: int = 1, in_group: int | None = None) -> None:
    """Makes sure that so much can be had at all.

    Args:
        size: Bytes that each process is about to take.
        what: What takes them, in words, for the message.
        processes: How many of them this machine runs.
        in_group: How many of them are in this process's cgroup; None: all.

    Raises:
        ConfigError: It is more than there is, whatever else runs.
    """
    least = min(limits(processes, in_group))
    if size > least.size:
        raise ConfigError(f"{what} would take {shown(size)}, and {least.where} {shown(least.size)}")


def shown(size: int) -> str:
    """A number of bytes as people read it."""
    value = float(size)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"


def _each(processes: int) -> str:
    return f"for each of {processes} ranks " if processes > 1 else ""


def group_name() -> str:
    """This process's cgroup; processes of one machine with the same name share its limits."""
    with contextlib.suppress(OSError):
        return _OWN_GROUPS.read_text()
    return ""


def _group_limit() -> int | None:
    """The least limit of this process's cgroup and those above it."""
    found = []
    for root, name in _GROUPS:
        for folder in _own_folders(root):
            with contextlib.suppress(OSError, ValueError):
                found.append(int((folder / name).read_text()))
    return min(found, default=None)


def _own_folders(root: Path) -> list[Path]:
    own = [root]
    with contextlib.suppress(OSError):
        for line in _OWN_GROUPS.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds in ("", "memory"):
                folder = root / path.lstrip("/")
                own += [folder, *(above for above in folder.parents if above.is_relative_to(root))]
    return own
