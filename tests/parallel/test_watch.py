"""A process is notified when another is lost, but not of one that has left properly."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hvdrec.errors import UserError
from hvdrec.parallel import watch
from hvdrec.parallel.watch import SECONDS, PeerWatch, watch_peers


class _Ranks:
    """Lets the threads of a test gather values as ranks do."""

    def __init__(self, size: int) -> None:
        self._values: list[Any] = [None] * size
        self._barrier = threading.Barrier(size, timeout=60)

    def gather(self, rank: int) -> Callable[[Any], list[Any]]:
        def gather(value: Any) -> list[Any]:
            self._values[rank] = value
            self._barrier.wait()
            found = list(self._values)
            self._barrier.wait()
            return found

        return gather


def _linked(size: int) -> tuple[list[PeerWatch], list[queue.Queue[str]]]:
    """Watches of `size` ranks, each with the losses that it was notified of."""
    ranks = _Ranks(size)
    lost: list[queue.Queue[str]] = [queue.Queue() for _ in range(size)]
    watches: dict[int, PeerWatch] = {}

    def join(rank: int) -> None:
        watches[rank] = watch_peers(rank, ranks.gather(rank), lambda text, _: lost[rank].put(text))

    threads = [threading.Thread(target=join, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [watches[rank] for rank in range(size)], lost


def test_all_are_told_of_a_rank_that_is_gone() -> None:
    watches, lost = _linked(3)
    (link,) = watches[2]._links
    link.shutdown(socket.SHUT_RDWR)  # As when its process is killed.
    host = socket.gethostname()
    expected = f"rank 2 on {host} ended without a message (killed, or out of memory)"
    assert [lost[rank].get(timeout=60) for rank in (0, 1)] == [expected] * 2
    for each in watches:
        each.close()


def test_nobody_is_told_of_a_rank_that_left() -> None:
    watches, lost = _linked(3)
    for each in reversed(watches):
        each.close()
        each.close()
    assert all(q.empty() for q in lost)
    assert not [t for t in threading.enumerate() if t.name == "hvdrec-peers"]


def test_a_loss_that_is_followed_by_the_end_stays_unsaid() -> None:
    """Whoever ends with a message of his own within the grace needs no other."""
    own, other = socket.socketpair()
    told: queue.Queue[str] = queue.Queue()
    own_watch = PeerWatch({own: "rank 0"}, told.put, grace=60)
    other.close()
    own_watch.close()
    assert told.empty()


def test_a_stranger_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to rank 0's port without the token is closed, and the ranks still find each other."""
    real = socket.create_connection
    answers: list[bytes] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        with real(address, timeout) as stranger:
            stranger.sendall(b"0" * 32 + b" rank 7 on nowhere")
            answers.append(stranger.recv(100))
        return real(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connect)
    watches, lost = _linked(2)
    assert answers == [b""]
    assert list(watches[0]._links.values()) == [f"rank 1 on {socket.gethostname()}"]
    for each in watches:
        each.close()
    assert all(q.empty() for q in lost)


@pytest.mark.parametrize("again", [True, False])
def test_a_connection_given_up_is_no_loss(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """Rank 0 was too slow to answer: the rank has tried another address, or does without."""
    real = watch._connect

    def connect(*arguments: Any) -> socket.socket | None:
        given_up = real(*arguments)
        assert given_up is not None
        given_up.close()
        return real(*arguments) if again else None

    monkeypatch.setattr(watch, "_connect", connect)
    watches, _ = _linked(2)
    expected = [f"rank 1 on {socket.gethostname()}"] if again else []
    assert list(watches[0]._links.values()) == expected
    for each in watches:
        each.close()


def test_a_process_that_ends_by_an_error_has_said_so() -> None:
    own, other = socket.socketpair()
    program = (
        "import socket, sys; from hvdrec.parallel.watch import PeerWatch\n"
        "PeerWatch({socket.socket(fileno=int(sys.argv[1])): 'rank 0'}, print); raise ValueError('a mistake')"
    )
    with own, other:
        command = [sys.executable, "-c", program, str(other.fileno())]
        done = subprocess.run(command, pass_fds=[other.fileno()], capture_output=True, text=True, timeout=60)
        other.close()
        assert "a mistake" in done.stderr
        assert own.recv(100) == b"bye\n"


def test_the_time_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, "soon")
    with pytest.raises(UserError, match="HVDREC_LOST_AFTER_SECONDS=soon: must be a number of seconds"):
        watch_peers(0, lambda value: [value])
