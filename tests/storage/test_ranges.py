"""Ranges that a machine caches: requested once for all readers, without causing failures."""

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from data.reading import csv_format, read, write_files

from hvdrec import storage
from hvdrec.errors import StorageError, StoreGoneError
from hvdrec.storage import ranges
from hvdrec.storage.ranges import RangeCache, range_key
from hvdrec.storage.reader import RangeReader

GOING_ON = threading.Event()


def give(data, calls=None):
    def fetch():
        if calls is not None:
            calls.append(len(data))
        return memoryview(data)

    return fetch


def refuse():
    raise AssertionError("this is kept")


@pytest.fixture
def cache(tmp_path):
    found = RangeCache(tmp_path / "kept")
    yield found
    found.close()


def whole(path, range_bytes):
    with RangeReader(path, range_bytes=range_bytes) as reader:
        return b"".join(iter(lambda: reader.read(50_000), b""))


def test_many_readers_ask_the_store_once(shaky, proxy, tmp_path):
    data = os.urandom(1_000_000)
    (tmp_path / "x").write_bytes(data)
    storage.upload(tmp_path / "x", f"{shaky}/x")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: whole(f"{shaky}/x", 90_000), range(8)))
    assert found == [data] * 8
    path = "/" + shaky.partition("://")[2] + "/x"
    assert proxy.sent[path] == len(data)
    # Again, as in the next epoch.
    assert whole(f"{shaky}/x", 90_000) == data
    assert proxy.sent[path] == len(data)
    # Another version of it.
    (tmp_path / "x").write_bytes(data[::-1])
    storage.upload(tmp_path / "x", f"{shaky}/x")
    assert whole(f"{shaky}/x", 90_000) == data[::-1]


def test_nothing_is_kept_where_that_is_wanted(shaky, proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("HVDREC_STORE_CACHE", "0")
    (tmp_path / "x").write_bytes(b"x" * 1000)
    storage.upload(tmp_path / "x", f"{shaky}/x")
    for _ in range(2):
        assert whole(f"{shaky}/x", 600) == b"x" * 1000
    assert proxy.sent["/" + shaky.partition("://")[2] + "/x"] == 2000
    monkeypatch.setenv("HVDREC_STORE_CACHE", "much")
    with pytest.raises(StorageError, match="HVDREC_STORE_CACHE: expected a number of bytes, found 'much'"):
        whole(f"{shaky}/x", 600)


def test_ranks_get_the_rows_of_local_files_from_one_reading(shaky, proxy, tmp_path):
    paths = [pathlib.Path(path) for path in write_files(tmp_path, [3000, 0, 500])]
    for path in paths:
        storage.upload(path, f"{shaky}/{path.name}")
    plan = {"batch_size": 16, "shuffle": True, "shuffle_buffer": 300, "epochs": 2, "size": 4}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rank: read(csv_format([shaky]), rank=rank, **plan), range(4)))
    assert found == [read(csv_format([str(tmp_path)]), rank=rank, **plan) for rank in range(4)]
    for path in paths:
        assert proxy.sent[f"/{shaky.partition('://')[2]}/{path.name}"] == path.stat().st_size


def test_what_a_fetch_raises_comes_through_and_the_next_one_fetches(cache):
    def fail():
        raise StoreGoneError("gone")

    with pytest.raises(StoreGoneError):
        cache.get("k", 3, fail, GOING_ON)
    assert cache.get("k", 3, give(b"abc"), GOING_ON) == b"abc"
    assert cache.get("k", 3, refuse, GOING_ON) == b"abc"


def test_half_a_range_is_fetched_again(cache, tmp_path):
    (tmp_path / "kept/k").write_bytes(b"ab")
    assert cache.get("k", 3, give(b"xyz"), GOING_ON) == b"xyz"
    assert cache.get("k", 3, refuse, GOING_ON) == b"xyz"


def test_a_range_that_another_is_asking_for_is_waited_for(cache, tmp_path, monkeypatch):
    with open(tmp_path / "kept/k", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        stopped = threading.Event()
        stopped.set()
        assert cache.get("k", 3, give(b"abc"), stopped) == b"abc"
        monkeypatch.setattr(ranges, "_LONGEST_WAIT", 0.0)
        assert cache.get("k", 3, give(b"abc"), GOING_ON) == b"abc"
        monkeypatch.undo()
        threading.Timer(
            0.1, lambda: (other.write(b"xyz"), other.flush(), fcntl.flock(other, fcntl.LOCK_UN))
        ).start()
        assert cache.get("k", 3, refuse, GOING_ON) == b"xyz"


def test_the_oldest_go(tmp_path):
    cache = RangeCache(tmp_path / "kept", most_bytes=1000)
    for number in range(20):
        cache.get(f"k{number}", 100, give(bytes(100)), GOING_ON)
    kept = {path.name for path in (tmp_path / "kept").iterdir()} - {".users"}
    assert "k19" in kept
    assert "k0" not in kept
    assert 8 <= len(kept) <= 11
    cache.close()


def test_a_full_disk_is_not_in_the_way(cache, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for _ in range(2):
        assert cache.get("k", 3, give(b"abc"), GOING_ON) == b"abc"


HOLDER = """
import pathlib, sys, time
from hvdrec.storage.ranges import RangeCache
cache = RangeCache(pathlib.Path(sys.argv[1]))
print("in", flush=True)
time.sleep(600)
"""


def test_the_last_one_out_removes_it(tmp_path):
    folder = tmp_path / "kept"
    cache = RangeCache(folder)
    cache.get("k", 3, give(b"abc"), GOING_ON)
    with subprocess.Popen([sys.executable, "-c", HOLDER, folder], stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        cache.close()
        assert (folder / "k").exists()
        other.send_signal(signal.SIGKILL)
    # What a killed one leaves is of use to the next, who removes it.
    again = RangeCache(folder)
    assert again.get("k", 3, refuse, GOING_ON) == b"abc"
    again.close()
    assert not folder.exists()


def test_a_folder_of_somebody_else(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "kept").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="another user"):
        RangeCache(tmp_path / "kept")


def test_keys_name_one_version_of_one_file(monkeypatch):
    wanted = {
        range_key(*of)
        for of in [("a", "e", 9, 0, 3), ("b", "e", 9, 0, 3), ("a", "f", 9, 0, 3), ("a", "e", 8, 0, 3)]
    }
    assert len(wanted) == 4
    # What a machine that lost its power has written may be incomplete.
    monkeypatch.setattr(ranges, "boot", lambda: "another")
    assert range_key("a", "e", 9, 0, 3) not in wanted
