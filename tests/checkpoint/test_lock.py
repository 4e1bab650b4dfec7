from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from hvdrec.checkpoint.lock import DirectoryLock
from hvdrec.errors import CheckpointError

#: A process that takes the lock, says so, and waits.
HOLDER = """
import sys, time
from hvdrec.checkpoint.lock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
lock.acquire()
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path, holder):
    with pytest.raises(CheckpointError, match=rf"is in use by process {holder.pid} on .*--model_dir"):
        DirectoryLock(str(tmp_path)).acquire()
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with DirectoryLock(str(tmp_path)) as lock:
        lock.acquire()
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_two_in_one_process(tmp_path):
    with DirectoryLock(str(tmp_path)) as first:
        first.acquire()
        with pytest.raises(CheckpointError, match="is in use"):
            DirectoryLock(str(tmp_path)).acquire()
    with DirectoryLock(str(tmp_path)) as second:
        second.acquire()


def other_machine(path, beat: int) -> None:
    text = json.dumps({"host": "another-machine", "process": 7, "since": 0.0, "beat": beat}).ljust(400)
    # In place, like a run: a reader never finds an empty file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, text.encode(), 0)
    os.close(descriptor)


def test_another_machines_run_that_beats_is_refused(tmp_path):
    path = tmp_path / ".lock"
    other_machine(path, 0)
    ended = threading.Event()

    def beat() -> None:
        number = 0
        while not ended.wait(0.02):
            number += 1
            other_machine(path, number)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CheckpointError, match="is in use by process 7 on another-machine"):
            DirectoryLock(str(tmp_path), beat_seconds=0.5).acquire()
    finally:
        ended.set()
        thread.join()


def test_another_machines_run_that_does_not_beat_is_forgotten(tmp_path, caplog):
    other_machine(tmp_path / ".lock", 3)
    with DirectoryLock(str(tmp_path), beat_seconds=0.02) as lock:
        lock.acquire()
        assert "shows no activity" in caplog.text
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()


def test_it_beats(tmp_path):
    with DirectoryLock(str(tmp_path), beat_seconds=0.01) as lock:
        lock.acquire()
        deadline = time.monotonic() + 20
        while json.loads((tmp_path / ".lock").read_text())["beat"] < 2:
            assert time.monotonic() < deadline


def test_without_locks_of_the_kernel_the_beats_decide(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    other_machine(tmp_path / ".lock", 3)
    with DirectoryLock(str(tmp_path), beat_seconds=0.02) as lock:
        lock.acquire()
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_a_directory_that_can_not_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"\.lock: can't be written"):
        DirectoryLock(str(tmp_path / "file" / "model")).acquire()


def test_a_removed_directory_is_made_again(tmp_path):
    folder = tmp_path / "run"
    with DirectoryLock(str(folder)) as lock:
        lock.acquire()
        assert not lock.check()
        shutil.rmtree(folder)
        assert lock.check()
        assert not lock.check()
        with pytest.raises(CheckpointError, match="is in use"):
            DirectoryLock(str(folder)).acquire()
    assert not (folder / ".lock").exists()


def test_a_removed_directory_that_can_not_be_made_again(tmp_path):
    folder = tmp_path / "run"
    with DirectoryLock(str(folder)) as lock:
        lock.acquire()
        shutil.rmtree(folder)
        folder.touch()
        for _ in range(2):
            with pytest.raises(CheckpointError, match=r"run was removed during the run: File exists"):
                lock.check()
        lock.release()


def test_a_removed_directory_may_be_another_runs_by_now(tmp_path):
    folder = tmp_path / "run"
    with DirectoryLock(str(folder)) as lock:
        lock.acquire()
        shutil.rmtree(folder)
        with DirectoryLock(str(folder)) as other:
            other.acquire()
            for _ in range(2):
                with pytest.raises(CheckpointError, match=r"run was removed during the run: .*is in use"):
                    lock.check()
            lock.release()
            assert (folder / ".lock").exists()
