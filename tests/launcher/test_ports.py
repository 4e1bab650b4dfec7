"""Ports for processes that are yet to start."""

from __future__ import annotations

import socket

import pytest

from hvdrec.launcher import ports
from hvdrec.launcher.ports import ephemeral_ports, free_ports


def test_the_system_gives_them_to_nobody_else() -> None:
    low, high = ephemeral_ports()
    found = free_ports(20)
    assert len(set(found)) == 20
    assert not [port for port in found if low <= port <= high]
    for port in found:
        with socket.socket() as probe:
            probe.bind(("", port))


def test_those_in_use_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    used, free = free_ports(2)
    monkeypatch.setattr(ports, "_candidates", lambda: [used, free])
    with socket.create_server(("127.0.0.1", used)):
        assert free_ports(1) == [free]
        # There are no others: the system chooses.
        assert len(set(free_ports(3))) == 3
