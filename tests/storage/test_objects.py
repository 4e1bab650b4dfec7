import logging
import os
import threading

import pyarrow.fs as pafs
import pytest
from storage.server import SECRET

from hvdrec import storage
from hvdrec.errors import ConfigError, StorageError, StoreGoneError
from hvdrec.storage import filesystems, retries
from hvdrec.storage.filesystems import locate
from hvdrec.storage.objects import _written_whole
from hvdrec.storage.reader import RangeReader
from hvdrec.storage.secrets import without_secrets


def put(path, data, folder):
    file = folder / "put"
    file.write_bytes(data)
    storage.upload(file, path)


@pytest.mark.parametrize(
    ("path", "remote", "local"),
    [
        ("a/b.csv", False, "a/b.csv"),
        ("/a:b/c", False, "/a:b/c"),
        ("file:///a/b", False, "/a/b"),
        ("file://localhost/a/b", False, "/a/b"),
        ("FILE:///a", False, "/a"),
        ("s3://b/x", True, "s3://b/x"),
        ("OSS://b/x", True, "OSS://b/x"),
    ],
)
def test_what_is_remote(path, remote, local):
    assert storage.is_remote(path) is remote
    assert storage.local(path) == local


def test_paths_are_joined_and_taken_apart():
    assert storage.join("s3://b/run/", "export", "final") == "s3://b/run/export/final"
    assert storage.join("file:///run", "x") == "/run/x"
    assert storage.parent("s3://b/run/x/") == "s3://b/run"
    assert storage.name("s3://b/run/x/") == "x"


def test_a_file_comes_and_goes(store, tmp_path):
    path = f"{store}/folder/file"
    assert not storage.exists(path)
    storage.write_text(path, "zwei\r\nZeilen ü\n")
    assert storage.read_text(path) == "zwei\nZeilen ü\n"
    assert storage.is_file(path)
    assert storage.is_folder(f"{store}/folder")
    assert storage.is_folder(f"{store}/folder/")
    assert not storage.is_file(f"{store}/folder")
    storage.remove(path)
    storage.remove(path)
    assert not storage.is_file(path)


def test_a_byte_order_mark_is_no_text(store, tmp_path):
    for path in (storage.join(store, "text"), str(tmp_path / "text")):
        (tmp_path / "there").write_bytes(b"\xef\xbb\xbfword\r\n\xef\xbb\xbfinside\n")
        storage.upload(tmp_path / "there", path) if storage.is_remote(path) else os.rename(
            tmp_path / "there", path
        )
        assert storage.read_text(path) == "word\n\ufeffinside\n"


def test_large_files_arrive_whole(store, tmp_path):
    data = os.urandom((21 << 20) + 7)
    put(f"{store}/large", data, tmp_path)
    storage.download(f"{store}/large", tmp_path / "deep/er")
    assert (tmp_path / "deep/er").read_bytes() == data
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["er"]


def test_listing(store):
    for name in ("a", "b/c", "b/d/e"):
        storage.write_text(f"{store}/{name}", name)
    assert storage.listing(store) == {"a": 1}
    assert storage.listing(f"{store}/", recursive=True) == {"a": 1, "b/c": 3, "b/d/e": 5}
    assert storage.folders(store) == ["b"]
    assert storage.listing(f"{store}/nothing", recursive=True) == {}
    storage.remove_folder(f"{store}/b")
    assert storage.listing(store, recursive=True) == {"a": 1}
    with pytest.raises(StorageError, match="is a bucket"):
        storage.remove_folder("/".join(store.split("/")[:3]))


def test_in_a_file_system_a_file_appears_whole(tmp_path, monkeypatch):
    """Where a file is seen from its first byte on, as in HDFS."""
    monkeypatch.setattr(filesystems, "_registered", {})
    storage.register_filesystem("disk", lambda path: (pafs.LocalFileSystem(), path.partition("://")[2]))
    path = f"{tmp_path}/deep/x"

    def broken_off():
        with _written_whole(locate(f"disk://{path}")) as stream:
            stream.write(b"new")
            stream.flush()
            raise InterruptedError

    with pytest.raises(InterruptedError):
        broken_off()
    assert not storage.exists(f"disk://{path}")
    storage.write_text(f"disk://{path}", "old")
    with pytest.raises(InterruptedError):
        broken_off()
    assert storage.read_text(f"disk://{path}") == "old"
    (tmp_path / "source").write_text("other")
    storage.upload(tmp_path / "source", f"disk://{path}")
    assert storage.read_text(f"disk://{path}") == "other"
    assert os.listdir(tmp_path / "deep") == ["x"]


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.read_text(f"{store}/nothing")
    with pytest.raises(FileNotFoundError):
        storage.download(f"{store}/nothing", tmp_path / "x")
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET"):
        storage.write_text("s3://no-such-bucket/x", "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        ("slow_down", "GET"),
        ("reset", "GET"),
        ("cut", "GET"),
        ("stall", "GET"),
        ("slow_down", "PUT"),
        ("reset", "PUT"),
    ],
)
def test_a_store_that_fails_for_a_while(shaky, proxy, tmp_path, fault, method, caplog):
    data = os.urandom(300_000)
    if method == "GET":
        put(f"{shaky}/x", data, tmp_path)
    proxy.fail(fault, times=2 if fault == "stall" else 3, method=method, match="/x")
    with caplog.at_level(logging.WARNING, logger="hvdrec"):
        if method == "PUT":
            put(f"{shaky}/x", data, tmp_path)
        storage.download(f"{shaky}/x", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert f"{shaky}/x: " in caplog.text
    assert "again in" in caplog.text


def test_a_store_that_stays_away(shaky, proxy, monkeypatch):
    monkeypatch.setenv(retries.VARIABLE, "1")
    proxy.fail("reset", times=None)
    with pytest.raises(StoreGoneError, match=rf"{shaky}/x: the store has failed for \d s: ") as caught:
        storage.write_text(f"{shaky}/x", "x")
    assert caught.value.exit_code == 1
    # What comes after isn't waited for as long.
    before = len(proxy.requests)
    with pytest.raises(StoreGoneError):
        storage.write_text(f"{shaky}/y", "y")
    assert len(proxy.requests) - before <= filesystems._TRIES
    proxy.heal()
    storage.write_text(f"{shaky}/y", "y")
    assert storage.read_text(f"{shaky}/y") == "y"


def test_a_refusal_is_not_repeated(shaky, proxy):
    proxy.fail("denied", times=None)
    with pytest.raises(StorageError, match="ACCESS_DENIED") as caught:
        storage.read_text(f"{shaky}/x")
    assert caught.value.exit_code == 2
    assert len(proxy.requests) == 1


def test_waiting_ends_when_asked(shaky, proxy, tmp_path):
    (tmp_path / "x").write_text("x")
    proxy.fail("reset", times=None)
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(StoreGoneError):
        storage.upload(tmp_path / "x", f"{shaky}/x", stopped)


@pytest.mark.parametrize("fault", ["slow_down", "cut", "reset"])
def test_ranges_that_fail_are_read_again(shaky, proxy, tmp_path, fault):
    data = os.urandom(500_000)
    put(f"{shaky}/x", data, tmp_path)
    proxy.fail(fault, times=3, method="GET", match="/x", skip=2)
    reader = RangeReader(f"{shaky}/x", range_bytes=70_000)
    before = len([r for r in proxy.requests if r.startswith("GET")])
    assert b"".join(iter(lambda: reader.read(64_000), b"")) == data
    reader.close()
    # Only what failed is asked for twice.
    assert len([r for r in proxy.requests if r.startswith("GET")]) - before <= 8 + 3


def test_a_reader_can_move(store, tmp_path):
    data = os.urandom(100_000)
    put(f"{store}/x", data, tmp_path)
    with RangeReader(f"{store}/x", range_bytes=10_000) as reader:
        assert reader.read(5) == data[:5]
        assert reader.seek(0, os.SEEK_END) == len(data)
        assert reader.read(5) == b""
        assert reader.seek(50_001) == 50_001
        assert reader.read(20_000)[:7] == data[50_001:50_008]
        assert reader.tell() > 50_001


def test_a_file_that_changes_is_noticed(shaky, proxy, tmp_path):
    put(f"{shaky}/x", b"1" * 1000, tmp_path)
    reader = RangeReader(f"{shaky}/x", range_bytes=100, ahead=1)
    put(f"{shaky}/x", b"2" * 50, tmp_path)
    proxy.fail("reset", times=filesystems._TRIES, method="GET", match="/x")
    with pytest.raises(StorageError, match="the file changed while it was read"):
        reader.readall()
    reader.close()


def test_local_paths_are_not_retried():
    calls = []

    def work():
        calls.append(1)
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        storage.retry("/x", work)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("s3://key:word@bucket/x", "must not contain a user or key before an @"),
        ("odps://p/tables/t", "MaxCompute table"),
    ],
)
def test_paths_that_are_refused(path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        storage.check(path, "train_input_path")
    assert "word" not in str(caught.value)


def test_secrets_are_left_out_of_messages(store):
    assert SECRET not in without_secrets(f"a {SECRET} b")
    assert without_secrets("GET /x?X-Amz-Signature=abc123&y=1") == "GET /x?X-Amz-Signature=***&y=1"


def test_hdfs_says_what_it_needs(monkeypatch):
    for name in ("HADOOP_HOME", "CLASSPATH", "ARROW_LIBHDFS_DIR", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match=r"hdfs:// can't be used: .*HADOOP_HOME and CLASSPATH"):
        storage.read_text("hdfs://127.0.0.1:1/x")


def test_a_number_of_seconds_that_is_none(monkeypatch):
    monkeypatch.setenv(retries.VARIABLE, "soon")
    with pytest.raises(
        StorageError, match="HVDREC_STORE_PATIENCE: expected a number of seconds, found 'soon'"
    ):
        storage.retry("s3://b/x", lambda: (_ for _ in ()).throw(OSError("x")))
