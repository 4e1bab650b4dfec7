"""Workers whose calls don't end: one on this host is killed, one elsewhere ends the run."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from hvdrec.parallel.worker_watch import Calls, WorkerWatch

#: The longest call that has ended: measured, it would be longer on a busy machine, and so would be the limits.
_LONGEST = 0.01
_LISTENER = """
import signal, socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
signal.pause()
"""


def wait_until(reached: Callable[[], object]) -> bool:
    """Waits for it, a minute at most."""
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(reached())


def _in_a_call(calls: Calls, worker: int, until: threading.Event) -> None:
    with calls.of(worker):
        until.wait(300)


def test_late_workers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hvdrec.parallel.worker_watch")
    ended, errors, said, calls = threading.Event(), list[Exception](), list[str](), Calls()

    def fail(error: Exception) -> None:
        # Now: a call that doesn't end is soon reported again.
        said.extend(record.getMessage() for record in caplog.records)
        errors.append(error)

    listener = subprocess.Popen(
        [sys.executable, "-c", _LISTENER, "hvdrec.train"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert listener.stdout is not None
        addresses = (f"127.0.0.1:{int(listener.stdout.readline())}", "192.0.2.7:2222", "192.0.2.8:2222")
        threads = [threading.Thread(target=_in_a_call, args=(calls, i, ended), daemon=True) for i in (0, 1)]
        for i, thread in enumerate(threads):
            thread.start()
            assert wait_until(lambda i=i: i in calls.began)
        # So servers respond, and the others hang themselves.
        with calls.of(2):
            pass
        calls.longest = _LONGEST
        WorkerWatch(calls, addresses, 1.0, fail, poll=0.05, late=0.3)
        assert listener.wait(60) == -signal.SIGKILL
        wait_until(lambda: errors)
    finally:
        listener.kill()
        ended.set()
    (error,) = errors
    assert "worker 1 (192.0.2.7:2222) hasn't finished its batches for 1 s" in str(error)
    assert "HVDREC_HANGING_AFTER_SECONDS" in str(error)
    assert sum("worker 0" in line and "is killed after 1 s" in line for line in said) == 1
    assert sum("worker 1" in line and "given up, which ends the run" in line for line in said) == 1
    assert any("worker 0" in line and "it is killed (" in line for line in said)
    assert not any("worker 2" in line for line in said)


def test_a_worker_that_may_be_healthy_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = subprocess.Popen(
        [sys.executable, "-c", _LISTENER, "hvdrec.train"], stdout=subprocess.PIPE, text=True
    )
    errors, calls = list[Exception](), Calls()
    try:
        assert listener.stdout is not None
        address = f"127.0.0.1:{int(listener.stdout.readline())}"
        with calls.of(0):
            pass
        calls.longest = _LONGEST
        # Never looks by itself.
        watch = WorkerWatch(calls, [address, "192.0.2.7:2222"], 1.0, errors.append, poll=1e6, late=0.3)
        calls.began[0] = time.monotonic()
        watch.look()
        # The chief was suspended: time passes for the machine, not for the watch.
        later = time.monotonic() + 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: later)
        watch.look()
        assert not errors
        # Nobody finishes: it may be a server that hangs.
        watch._clock = 2.0
        watch.look()
        (error,) = errors
        assert "it or a parameter server hangs" in str(error)
        # The call ends, and the worker waits for work.
        del calls.began[0]
        watch._clock = 10.0
        watch.look()
        assert len(errors) == 1
        assert listener.poll() is None
    finally:
        listener.kill()
        listener.wait()


def test_a_call_that_ends_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hvdrec.parallel.worker_watch")
    ended, calls = threading.Event(), Calls()
    with calls.of(0):
        pass
    calls.longest = _LONGEST
    thread = threading.Thread(target=_in_a_call, args=(calls, 0, ended), daemon=True)
    thread.start()
    WorkerWatch(calls, ["192.0.2.7:2222"], 0, lambda error: pytest.fail(str(error)), poll=0.05, late=0.2)
    assert wait_until(lambda: len(caplog.records) == 1)
    ended.set()
    thread.join()
    assert wait_until(lambda: len(caplog.records) == 2)
    # There is nothing more to say.
    time.sleep(0.5)
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" for ")[0] for line in said] == [
        "worker 0 (192.0.2.7:2222) hasn't finished its batches",
        "worker 0 responds again",
    ]
