"""One run at a time in a folder of a store, which has no locks."""

import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from multirank.launch import _ROOT

from hvdrec import storage
from hvdrec.checkpoint import remote_lock
from hvdrec.checkpoint.remote_lock import RemoteLock
from hvdrec.errors import CheckpointError


def lock(store, beat_seconds=10.0):
    return RemoteLock(store, beat_seconds, pause_seconds=0.01)


def tried(locks):
    """Starts all at once: those that have the lock, and the messages of the others."""
    together = threading.Barrier(len(locks))

    def acquire(each):
        together.wait()
        try:
            each.acquire()
        except CheckpointError as error:
            return str(error)
        return each

    with ThreadPoolExecutor(len(locks)) as pool:
        ended = list(pool.map(acquire, locks))
    return [e for e in ended if isinstance(e, RemoteLock)], [e for e in ended if isinstance(e, str)]


def test_of_several_one_has_it(store):
    having, told = tried([lock(store, beat_seconds=2.0) for _ in range(4)])
    assert len(having) == 1
    assert len(told) == 3
    assert all(f"{store} is in use by process {os.getpid()} on " in text for text in told)
    assert json.loads(storage.read_text(f"{store}/.lock"))["run"] == having[0]._owner["run"]
    having[0].release()
    assert storage.listing(store) == {}


class SlowStore:
    """A store in memory in which every request takes its time, before and after it is done."""

    def __init__(self, seed):
        self._files = {}
        self._random = random.Random(seed)

    def _wait(self):
        # Mostly short, now and then longer than all that another run does.
        time.sleep(self._random.choice([0.0, 0.0005, 0.001, 0.02]))

    def _do(self, work):
        self._wait()
        found = work()
        self._wait()
        return found

    def write_text(self, path, text):
        self._do(lambda: self._files.update({path: text}))

    def remove(self, path):
        self._do(lambda: self._files.pop(path, None))

    def listing(self, folder):
        start = folder + "/"
        return self._do(lambda: {p.removeprefix(start): len(t) for p, t in list(self._files.items())})

    def read_text(self, path):
        text = self._do(lambda: self._files.get(path))
        if text is None:
            raise FileNotFoundError(path)
        return text


@pytest.mark.parametrize("left", [False, True])
def test_whatever_the_order_of_their_requests_one_has_it(monkeypatch, left):
    for seed in range(8):
        slow = SlowStore(seed)
        for name in ("write_text", "remove", "listing", "read_text"):
            monkeypatch.setattr(remote_lock, name, getattr(slow, name))
        if left:
            gone = {"host": os.uname().nodename, "process": 2**22 + 1, "run": "x"}
            slow.write_text("s3://b/run/.lock", json.dumps(gone))
            slow.write_text("s3://b/run/.lock-0", json.dumps(gone))
        having, told = tried([lock("s3://b/run", beat_seconds=5.0) for _ in range(3)])
        assert (len(having), len(told)) == (1, 2)
        assert json.loads(slow.read_text("s3://b/run/.lock"))["run"] == having[0]._owner["run"]
        having[0].release()
        assert slow.listing("s3://b/run") == {}


RUN = """
import sys
from hvdrec.checkpoint.remote_lock import RemoteLock
from hvdrec.errors import CheckpointError
lock = RemoteLock(sys.argv[1], beat_seconds=2.0)
print("ready", flush=True)
sys.stdin.readline()
try:
    lock.acquire()
    print("has it", flush=True)
except CheckpointError as error:
    print(error, flush=True)
sys.stdin.readline()
lock.release()
"""


def test_of_two_processes_that_start_together_one_has_it(store):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": _ROOT}
    runs = [subprocess.Popen([sys.executable, "-c", RUN, store], **pipes) for _ in range(2)]
    try:
        for run in runs:
            assert run.stdout.readline() == "ready\n"
        for run in runs:
            run.stdin.write("\n")
            run.stdin.flush()
        said = [run.stdout.readline().strip() for run in runs]
        winner = said.index("has it")
        assert f"{store} is in use by process {runs[winner].pid} on " in said[1 - winner]
        assert said[1 - winner].endswith("give another --model_dir")
        for run in runs:
            run.communicate("\n", timeout=120)
        assert storage.listing(store) == {}
    finally:
        for run in runs:
            run.kill()
            run.wait()


def test_a_lock_keeps_others_out(store):
    first = lock(store, beat_seconds=0.2)
    first.acquire()
    with pytest.raises(CheckpointError, match=rf"{store} is in use by process {os.getpid()} on "):
        lock(store, beat_seconds=2.0).acquire()
    first.release()
    assert not storage.exists(f"{store}/.lock")
    again = lock(store)
    again.acquire()
    again.release()


def test_locks_left_behind_are_taken_over(store, caplog):
    host = os.uname().nodename
    storage.write_text(f"{store}/.lock", json.dumps({"host": host, "process": 2**22 + 1, "run": "x"}))
    first = lock(store)
    first.acquire()
    first.release()
    storage.write_text(f"{store}/.lock", json.dumps({"host": "elsewhere", "process": 1, "run": "x"}))
    storage.write_text(f"{store}/.lock-0", json.dumps({"host": "elsewhere", "process": 1, "run": "x"}))
    second = lock(store, beat_seconds=0.05)
    with caplog.at_level(logging.WARNING, logger="hvdrec"):
        second.acquire()
    second.release()
    assert "shows no activity; taking over its lock" in caplog.text
    assert storage.listing(store) == {}


def test_a_claim_that_was_taken_for_forgotten_is_noticed(store, monkeypatch):
    slow = lock(store, beat_seconds=0.01)
    other = json.dumps({"host": "other", "process": 7, "run": "other"})

    def beat(number):
        time.sleep(0.1)
        storage.write_text(f"{store}/.lock", other)

    monkeypatch.setattr(slow, "_beat", beat)
    with pytest.raises(CheckpointError, match="in use by process 7 on other"):
        slow.acquire()
