"""Free ports of this machine for processes that are yet to start."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from pathlib import Path

#: Lower ones belong to services, as a rule.
_LOWEST, _HIGHEST = 10_000, 65_535
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: As many are tried before the system chooses.
_TRIED = 2_000


def free_ports(count: int) -> list[int]:
    """Distinct ports that nobody uses.

    A process that imports TensorFlow first takes seconds until it listens. Until then the system would give a
    port of its ephemeral range to any connection or server of another program; so these are outside of it.
    """
    with contextlib.ExitStack() as stack:
        found = list[int]()
        # Last, whatever the system gives.
        for port in itertools.chain(_candidates(), itertools.repeat(0, count)):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("", port))
                found.append(probe.getsockname()[1])
        return found


def _candidates() -> list[int]:
    low, high = ephemeral_ports()
    ports = [port for port in range(_LOWEST, _HIGHEST + 1) if not low <= port <= high]
    return random.SystemRandom().sample(ports, min(len(ports), _TRIED))


def ephemeral_ports() -> tuple[int, int]:
    """The first and the last port that the system gives to whoever doesn't ask for a certain one."""
    try:
        low, high = map(int, _EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        return _LOWEST, _HIGHEST
    return low, high
