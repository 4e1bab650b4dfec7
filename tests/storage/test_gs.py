"""The tests of the S3 server, with an emulator of Google's store: objects, rows, checkpoints, a run."""

import os
import re
import uuid

import pytest
from data.reading import csv_format, read, write_files
from storage import server as servers
from storage.every_store import *  # noqa: F403
from storage.test_input import put_all
from storage.test_runs import kill_after_saving, ok, put_job

from hvdrec import storage
from hvdrec.data.files import list_files
from hvdrec.errors import StorageError
from hvdrec.storage.reader import RangeReader


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator isn't installed: make build")
    with servers.gcs_server() as address:
        yield address


@pytest.fixture
def variables(server, tmp_path_factory):
    work = str(tmp_path_factory.mktemp("work"))
    return {
        "STORAGE_EMULATOR_HOST": f"http://{server}",
        "HVDREC_WORK_DIR": work,
        "HVDREC_STORE_PATIENCE": "30",
    }


@pytest.fixture
def store(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return f"gs://{servers.BUCKET}/{uuid.uuid4().hex[:8]}"


@pytest.mark.parametrize("pattern", ["", "/part-*.csv", "/*/part-00[02].csv"])
def test_csv_rows_are_those_of_local_files(store, tmp_path, pattern):
    write_files(tmp_path, [30, 0, 7])
    put_all(tmp_path, f"{store}/day" if pattern.startswith("/*/") else store)
    plan = {"batch_size": 8, "shuffle": True, "shuffle_buffer": 16, "epochs": 2}
    local = str(tmp_path) + pattern.replace("/*/", "/")
    assert read(csv_format([f"{store}{pattern}"]), **plan) == read(csv_format([local]), **plan)


def test_a_file_in_ranges(store, tmp_path):
    data = os.urandom(500_000)
    (tmp_path / "x").write_bytes(data)
    storage.upload(tmp_path / "x", f"{store}/x")
    for _ in range(2):
        with RangeReader(f"{store}/x", range_bytes=70_000) as reader:
            assert b"".join(iter(lambda: reader.read(64_000), b"")) == data


def test_a_file_that_is_removed_while_it_is_read(store, tmp_path, monkeypatch):
    monkeypatch.setenv("HVDREC_STORE_CACHE", "0")
    storage.write_text(f"{store}/x", "1" * 1000)
    with RangeReader(f"{store}/x", range_bytes=100, ahead=1) as reader:
        assert reader.read(100) == b"1" * 100
        storage.remove(f"{store}/x")
        with pytest.raises(FileNotFoundError):
            reader.readall()


def test_folders_are_found_without_objects_of_their_own(store):
    storage.write_text(f"{store}/export/17/saved_model.pb", "")
    storage.write_text(f"{store}/export/16/variables/x", "")
    storage.write_text(f"{store}/export/file", "")
    assert storage.folders(f"{store}/export") == ["16", "17"]
    assert [file.name for file in list_files([f"{store}/*/1?"])] == [f"{store}/export/17/saved_model.pb"]


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.download(f"{store}/nothing", tmp_path / "x")
    with pytest.raises(
        StorageError, match=r"gs://no-such-bucket/x: can't be written; does the bucket exist\?"
    ):
        storage.write_text("gs://no-such-bucket/x", "x")
    with pytest.raises(FileNotFoundError):
        storage.upload(tmp_path / "no-such-file", f"{store}/x")


def test_trained_killed_and_gone_on_with(store, variables, tmp_path):
    put_job(store, tmp_path, steps=60, train_extra="save_checkpoints_steps: 6 keep_checkpoint_max: 3")
    flags = ["--pipeline_config_path", f"{store}/x.config"]
    kill_after_saving(store, 12, flags, variables)
    done = ok("train", 1, [*flags, "--continue_train"], variables)
    found = re.search(rf"continuing from {store}/run/model.ckpt-(\d+): ", done.stderr)
    assert found
    assert int(found[1]) >= 12
    there = storage.listing(f"{store}/run", recursive=True)
    kept = sorted(int(n[11:-10]) for n in there if re.fullmatch(r"model\.ckpt-\d+\.committed", n))
    assert kept == [48, 54, 60]
    assert ".lock" not in there
    assert any(n.startswith("eval_val/events") for n in there)
