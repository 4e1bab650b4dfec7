"""The meaning of a worker's failed call, and that a lost server is noticed."""

from __future__ import annotations

import contextlib
import socket
import threading
import types
from collections.abc import Iterator

import pytest
import tensorflow as tf

from hvdrec.launcher.ports import free_ports
from hvdrec.parallel import recovery, server_watch
from hvdrec.parallel.cluster import Answer
from hvdrec.parallel.recovery import Recovery, lost_server
from hvdrec.parallel.server_watch import ServerWatch

_FROM = "Additional GRPC error information from remote target /job:"


def _error(job: str, index: int = 0) -> tf.errors.OpError:
    return tf.errors.UnavailableError(None, None, f"Socket closed\n{_FROM}{job}/replica:0/task:{index} while")


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(recovery, "time", clock)
    monkeypatch.setattr(recovery, "_PAUSE_SECONDS", 0.0)
    return clock


def _recovery(servers: list[str]) -> Recovery:
    queue = types.SimpleNamespace(_cancellation_mgr=types.SimpleNamespace(is_cancelled=False))
    return Recovery(types.SimpleNamespace(closure_queue=queue), ["127.0.0.1:1", "127.0.0.1:2"], servers)


def _call(of: Recovery, error: Exception | None, worker: int = 0) -> str:
    """What becomes of a call: done, again, or raised."""
    seen: list[str] = []
    with contextlib.suppress(tf.errors.OpError):
        seen.append("raised")
        with of.wait_on_failure(None, lambda: seen.append("again"), None, f"/job:worker/task:{worker}"):
            if error is not None:
                raise error
            seen.append("done")
        seen.remove("raised")
    return seen[-1]


def test_a_server_out_of_reach_for_a_moment_ends_no_run_however_often(listening: str, clock: _Clock) -> None:
    found = _recovery([listening])
    for _ in range(20):
        assert _call(found, _error("ps")) == "again"
        clock.now += 40.0
    assert _call(found, None) == "done"
    for _ in range(20):
        assert [_call(found, e) for e in (_error("ps"), _error("ps"), None)] == ["again", "again", "done"]
    # As many workers as there are may be told of it at once.
    assert [_call(found, _error("ps"), worker) for worker in (0, 1, 0, 1)] == ["again"] * 4
    assert _call(found, _error("ps")) == "raised"


def test_a_server_whose_port_refuses_is_lost_at_once(listening: str, refusing: str, clock: _Clock) -> None:
    found = _recovery([listening, refusing])
    assert _call(found, _error("ps", 0)) == "again"
    assert _call(found, _error("ps", 1)) == "raised"
    assert lost_server(_error("ps", 1)) == 1
    assert lost_server(_error("worker")) is None


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.SILENT])
def test_a_lost_server_is_noticed(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(server_watch, "_SILENT_SECONDS", 0.05)
    there, lost, found = threading.Event(), threading.Event(), []

    def ask(address: str) -> Answer:
        there.set()
        return answer if address == "second" and lost.is_set() else Answer.THERE

    monkeypatch.setattr(server_watch, "ask", ask)
    watch = ServerWatch(["first", "second"], found.append, grace=0.0, poll=0.01)
    assert there.wait(60)
    assert not found
    lost.set()
    watch._thread.join(60)
    assert found == [1]


def test_a_server_that_answers_again_or_may_go_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Answer.REFUSED, Answer.REFUSED, Answer.THERE] * 5)
    ended = threading.Event()

    def ask(address: str) -> Answer:
        answer = next(answers, None)
        if answer is None:
            ended.set()
            return Answer.REFUSED
        return answer

    monkeypatch.setattr(server_watch, "ask", ask)
    found: list[int] = []
    watch = ServerWatch(["only"], found.append, grace=60.0, poll=0.001)
    assert ended.wait(60)
    watch.close()
    watch._thread.join(60)
    assert not found
