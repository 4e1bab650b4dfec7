"""Runs ranks in network namespaces of this machine that are connected by links of a given rate (as root)."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

_FILES = pathlib.Path("/etc/netns")
#: A link sends so many seconds' bytes at once.
_BURST = 0.0005


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def hosts(count: int, gigabits: float) -> Iterator[tuple[list[str], str]]:
    """Creates namespaces at one switch, each with a link `eth0`; they are removed at the end, also by SIGTERM.

    Args:
        count: How many.
        gigabits: The rate of each link in each direction, in Gbit/s; 0: as fast as the machine.

    Yields:
        Their names, and this process's address in their network.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    switch = f"hvb{os.getpid()}"
    names = [f"{switch}-{i}" for i in range(count)]
    burst = max(int(gigabits * 1e9 / 8 * _BURST), 128 << 10)
    shape = f"tbf rate {gigabits}gbit burst {burst} latency 50ms"
    try:
        _ip(f"link add {switch} type bridge")
        _ip(f"addr add 10.78.0.254/24 dev {switch}")
        _ip(f"link set {switch} up")
        for i, name in enumerate(names):
            # `ip netns exec` shows it as /etc/hosts: ranks find their own address by the host's name.
            files = _FILES / name
            files.mkdir(parents=True)
            (files / "hosts").write_text(f"127.0.0.1 localhost\n10.78.0.{i + 1} {socket.gethostname()}\n")
            _ip(f"netns add {name}")
            _ip(f"link add {switch}v{i} type veth peer name eth0 netns {name}")
            _ip(f"link set {switch}v{i} master {switch} up")
            inside = f"netns exec {name}"
            _ip(f"{inside} ip addr add 10.78.0.{i + 1}/24 dev eth0")
            _ip(f"{inside} ip link set eth0 up")
            _ip(f"{inside} ip link set lo up")
            # A rank's packets wait before they leave its host: what it sends is limited by its link.
            if gigabits:
                _ip(f"{inside} tc qdisc add dev eth0 root {shape}")
        yield names, "10.78.0.254"
    finally:
        for i, name in enumerate(names):
            shutil.rmtree(_FILES / name, ignore_errors=True)
            for command in (f"link del {switch}v{i}", f"netns del {name}"):
                with contextlib.suppress(subprocess.CalledProcessError):
                    _ip(command)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip(f"link del {switch}")


def run_on_hosts(command: Sequence[str], ranks: int, gigabits: float, environment: Mapping[str, str]) -> None:
    """Runs a program under Horovod with Gloo, one rank in each namespace.

    Args:
        command: The program of each rank.
        ranks: Their number.
        gigabits: As in `hosts`.
        environment: The ranks' environment.

    Raises:
        CalledProcessError: A rank failed.
    """
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousServer

    with hosts(ranks, gigabits) as (names, address):
        plan = get_host_assignments(parse_hosts(",".join(f"{name}:1" for name in names)), ranks)
        server = RendezvousServer()
        port = server.start()
        server.init(plan)
        processes = []
        for slot in plan:
            own = {
                "HOROVOD_HOSTNAME": slot.hostname,
                "HOROVOD_RANK": slot.rank,
                "HOROVOD_SIZE": slot.size,
                "HOROVOD_LOCAL_RANK": slot.local_rank,
                "HOROVOD_LOCAL_SIZE": slot.local_size,
                "HOROVOD_CROSS_RANK": slot.cross_rank,
                "HOROVOD_CROSS_SIZE": slot.cross_size,
                "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
                "HOROVOD_GLOO_RENDEZVOUS_PORT": port,
                "HOROVOD_CONTROLLER": "gloo",
                "HOROVOD_CPU_OPERATIONS": "gloo",
                "HOROVOD_GLOO_IFACE": "eth0",
            }
            inside = ["ip", "netns", "exec", slot.hostname, *command]
            variables = {**environment, **{name: str(value) for name, value in own.items()}}
            processes.append(subprocess.Popen(inside, env=variables))
        try:
            for process in processes:
                if process.wait():
                    raise subprocess.CalledProcessError(process.returncode, process.args)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            server.stop()
