"""A process learns that another is gone, and isn't told of one that has said good-bye."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hvdrec.errors import UserError
from hvdrec.parallel.watch import SECONDS, PeerWatch, watch_peers


class _Ranks:
    """Lets the threads of a test gather values as ranks do."""

    def __init__(self, size: int) -> None:
        self._values: list[Any] = [None] * size
        self._barrier = threading.Barrier(size, timeout=20)

    def gather(self, rank: int) -> Callable[[Any], list[Any]]:
        def gather(value: Any) -> list[Any]:
            self._values[rank] = value
            self._barrier.wait()
            found = list(self._values)
            self._barrier.wait()
            return found

        return gather


def _linked(size: int) -> tuple[list[PeerWatch], list[queue.Queue[str]]]:
    """Watches of `size` ranks, each with the losses it was told of."""
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
    expected = f"rank 2 on {host} ended without a word (killed, or out of memory)"
    assert [lost[rank].get(timeout=20) for rank in (0, 1)] == [expected] * 2
    for watch in watches:
        watch.close()


def test_nobody_is_told_of_a_rank_that_left() -> None:
    watches, lost = _linked(3)
    for watch in reversed(watches):
        watch.close()
        watch.close()
    assert all(q.empty() for q in lost)
    assert not [t for t in threading.enumerate() if t.name == "hvdrec-peers"]


def test_a_loss_that_is_followed_by_the_end_stays_unsaid() -> None:
    """Whoever ends with a message of his own within the grace needs no other."""
    own, other = socket.socketpair()
    told: queue.Queue[str] = queue.Queue()
    watch = PeerWatch({own: "rank 0"}, told.put, grace=60)
    other.close()
    watch.close()
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
    for watch in watches:
        watch.close()
    assert all(q.empty() for q in lost)


def test_the_time_must_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, "soon")
    with pytest.raises(UserError, match="HVDREC_LOST_AFTER_SECONDS=soon: must be a number of seconds"):
        watch_peers(0, lambda value: [value])
