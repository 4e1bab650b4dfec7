"""The processes of a parameter-server run and their roles, from `TF_CONFIG`."""

from __future__ import annotations

import dataclasses
import enum
import errno
import json
import os
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from hvdrec.config.names import enum_name
from hvdrec.errors import ConfigError, TrainingError
from hvdrec.parallel.environment import launched_size

CHIEF, WORKER, SERVER, EVALUATOR = "chief", "worker", "ps", "evaluator"
ROLES = (CHIEF, WORKER, SERVER, EVALUATOR)
_VARIABLE = "TF_CONFIG"
#: A name or an IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"[^\s,/:\[\]]+|\[[^\s,/\[\]]+\]")
_CONNECT_SECONDS = 2.0
_STARTUP_SECONDS = 600.0
#: The number of consecutive refusals; a single one may come from a busy machine.
_REFUSALS = 3


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All processes of a run, and the role of this one.

    Attributes:
        addresses: Role -> ``host:port`` of each of its processes.
        role: This process's role: `chief` reads the data and coordinates, a `worker` computes, a `ps`
            holds variables, the `evaluator` evaluates checkpoints.
        index: Its index in the role.
    """

    addresses: Mapping[str, tuple[str, ...]]
    role: str
    index: int

    @property
    def workers(self) -> int:
        """The number of processes that compute."""
        return len(self.addresses[WORKER])

    @property
    def servers(self) -> int:
        """The number of processes that hold variables."""
        return len(self.addresses[SERVER])

    def on_this_host(self, *roles: str) -> list[tuple[str, int]]:
        """The processes of some roles on this one's host, including this one."""
        mine = _host(self.addresses.get(self.role, ("",))[self.index]) if self.role != EVALUATOR else ""
        return [
            (role, i)
            for role in roles
            for i, address in enumerate(self.addresses[role])
            if _host(address) == mine
        ]


def asks_for_servers(train_config: Any, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a run uses parameter servers: by `PSStrategy`, or by `TF_CONFIG` as EasyRec's default.

    Raises:
        ConfigError: `TF_CONFIG` has servers but `train_distribute` is for replicas, or it has several workers
            but no servers.
    """
    strategy = enum_name(train_config, "train_distribute")
    if strategy == "PSStrategy":
        return True
    if launched_size(environment) > 1:
        return False
    cluster = _parse(environment).get("cluster", {})
    if not cluster.get(SERVER):
        _refuse_workers_alone(
            cluster, "train its own model on all rows", ", or add a ps for parameter servers"
        )
        return False
    if strategy != "NoStrategy":
        raise ConfigError(
            f"train_config.train_distribute: {strategy} does not use parameter servers, but {_VARIABLE} "
            f"has some; give --train_config.train_distribute=PSStrategy, or unset {_VARIABLE}"
        )
    return True


def need_one_process(does: str, environment: Mapping[str, str] = os.environ) -> None:
    """Prevents workers that a scheduler starts separately from each doing the whole work.

    Args:
        does: What each would do, for the message.
        environment: Environment variables.

    Raises:
        ConfigError: `TF_CONFIG` has several processes that compute, but they aren't ranks of one job.
    """
    if launched_size(environment) == 1:
        _refuse_workers_alone(_parse(environment).get("cluster", {}), does)


def _refuse_workers_alone(cluster: Mapping[str, object], does: str, instead: str = "") -> None:
    """Prevents workers that a scheduler starts separately from each doing the whole work.

    Args:
        cluster: What `TF_CONFIG` has.
        does: What each would do.
        instead: What else can be done.

    Raises:
        ConfigError: `TF_CONFIG` has several processes that compute.
    """
    named = {CHIEF if role == "master" else role: given for role, given in cluster.items()}
    workers = sum(len(_addresses(role, named[role])) for role in (CHIEF, WORKER) if named.get(role))
    if workers > 1:
        raise ConfigError(
            f"{_VARIABLE}: has {workers} workers{' and no ps' if instead else ''}, so each would {does}; "
            f"start them together with `horovodrun -np {workers}` or mpirun (in Kubeflow with an MPIJob "
            f"instead of a TFJob){instead}; to use this process alone, unset it"
        )


def quieten(verbose: bool) -> None:
    """Silences TensorFlow's lines about lost connections; must run before TensorFlow is imported."""
    if not verbose:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def read(environment: Mapping[str, str] = os.environ) -> Cluster:
    """The cluster in `TF_CONFIG`, with EasyRec's or TensorFlow's role names: a `master` is the chief.

    Raises:
        ConfigError: The variable is missing, or a role, an address or this process's task is invalid.
    """
    if launched_size(environment) > 1:
        raise ConfigError(
            "train_config.train_distribute: PSStrategy needs one process per role; start them with "
            "`python -m hvdrec.launch ps`, not with horovodrun or mpirun"
        )
    if not environment.get(_VARIABLE):
        raise ConfigError(
            "train_config.train_distribute: PSStrategy needs one process per role, listed in "
            "TF_CONFIG; `python -m hvdrec.launch ps --workers 2 --ps 1 ...` starts them on this machine"
        )
    parsed = _parse(environment)
    cluster, task = parsed.get("cluster"), parsed.get("task")
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise ConfigError(f"{_VARIABLE}: must have a cluster and a task, each a JSON object")
    cluster = dict(cluster)
    role = str(task.get("type", ""))
    if "master" in cluster:
        if CHIEF in cluster:
            raise ConfigError(
                f"{_VARIABLE}: has both a chief and a master, which are the same role; keep one of them"
            )
        cluster[CHIEF] = cluster.pop("master")
    role = CHIEF if role == "master" else role
    addresses = {name: _addresses(name, given) for name, given in cluster.items()}
    for address, count in Counter(address for each in addresses.values() for address in each).items():
        if count > 1:
            raise ConfigError(f"{_VARIABLE}: two processes have the address {address}")
    for name in (CHIEF, WORKER, SERVER):
        if not addresses.get(name):
            what = {
                CHIEF: "reads the data and coordinates",
                WORKER: "computes",
                SERVER: "holds the variables",
            }
            raise ConfigError(f"{_VARIABLE}: cluster has no {name}, which {what[name]}")
    if len(addresses[CHIEF]) > 1:
        raise ConfigError(f"{_VARIABLE}: there can be only one chief, found {len(addresses[CHIEF])}")
    return Cluster(addresses, *_task(role, task.get("index", 0), addresses))


def _task(role: str, index: object, addresses: Mapping[str, tuple[str, ...]]) -> tuple[str, int]:
    if role not in ROLES:
        raise ConfigError(f"{_VARIABLE}: task.type {role!r} is not a role; the roles are {', '.join(ROLES)}")
    # TensorFlow doesn't list the evaluator in the cluster.
    count = len(addresses.get(role, ())) or int(role == EVALUATOR)
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise ConfigError(f"{_VARIABLE}: task.index {index!r} of {role}: the cluster has {count}")
    return role, index


def _parse(environment: Mapping[str, str]) -> dict:
    written = environment.get(_VARIABLE, "")
    if not written:
        return {}
    try:
        parsed = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{_VARIABLE}: not valid JSON: {error}") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("cluster", {}), dict):
        raise ConfigError(f"{_VARIABLE}: must be a JSON object with a cluster and a task")
    return parsed


def _addresses(role: str, given: object) -> tuple[str, ...]:
    if role not in ROLES:
        raise ConfigError(f"{_VARIABLE}: cluster.{role} is not a role; the roles are {', '.join(ROLES)}")
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not all(isinstance(a, str) for a in found):
        raise ConfigError(f"{_VARIABLE}: cluster.{role} must be a list of host:port")
    for address in found:
        host, _, port = address.rpartition(":")
        if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{_VARIABLE}: cluster.{role}: {address!r} is not host:port")
    return tuple(found)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def need_own_port(cluster: Cluster) -> None:
    """Checks that this process can listen at the address that the others use.

    Raises:
        ConfigError: Another process uses its port.
    """
    address = cluster.addresses[cluster.role][cluster.index]
    with socket.socket() as probe:
        # As in gRPC: closing connections of an earlier process don't matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(address.rpartition(":")[2])))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigError(
                    f"{_VARIABLE}: {cluster.role} {cluster.index} can't listen at {address}: {error.strerror}"
                ) from error


class Answer(enum.Enum):
    """The result of a connection to an address."""

    THERE = enum.auto()
    REFUSED = enum.auto()
    SILENT = enum.auto()


def ask(address: str, seconds: float = _CONNECT_SECONDS) -> Answer:
    """Tries an address: a process listens, the host refuses, or there is no response."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds):
            return Answer.THERE
    except ConnectionRefusedError:
        return Answer.REFUSED
    except OSError:
        return Answer.SILENT


def answers(address: str) -> bool:
    """Whether a process listens at an address."""
    return ask(address) is Answer.THERE


def wait_for_all(cluster: Cluster, log: Callable[[str], None], stopped: Callable[[], bool]) -> None:
    """Waits until every worker and every server listens.

    Args:
        cluster: The processes.
        log: Called occasionally with the missing processes.
        stopped: Returns whether to stop waiting.

    Raises:
        TrainingError: A process is missing after ten minutes.
    """
    missing = [(role, i) for role in (SERVER, WORKER) for i in range(len(cluster.addresses[role]))]
    began = time.monotonic()
    told = began
    while not stopped():
        missing = [(r, i) for r, i in missing if not answers(cluster.addresses[r][i])]
        if not missing:
            return
        now = time.monotonic()
        text = ", ".join(f"{r} {i} ({cluster.addresses[r][i]})" for r, i in missing)
        if now - began > _STARTUP_SECONDS:
            raise TrainingError(f"some processes are not listening after {_STARTUP_SECONDS:.0f} s: {text}")
        if now - told > 10.0:
            log(f"waiting for {text}")
            told = now
        time.sleep(0.1)


class ChiefWatch:
    """Detects whether the chief is still running, by its port.

    The port is open from when the chief has connected the cluster until its process ends for any reason.

    Attributes:
        seen: Whether it has been seen.
    """

    def __init__(self, cluster: Cluster) -> None:
        """Starts without information."""
        self._address = cluster.addresses[CHIEF][0]
        self.seen = False
        self._refused = 0

    def gone(self) -> bool:
        """Probes the port; returns whether the chief was seen before and is now gone."""
        if answers(self._address):
            self.seen, self._refused = True, 0
        else:
            self._refused += 1
        return self.seen and self._refused >= _REFUSALS
