"""The tests of the S3 server, with a Hadoop file system given by HVDREC_TEST_HDFS=hdfs://host:port."""

import os
import uuid

import pytest
from storage.every_store import *  # noqa: F403
from storage.test_gs import (  # noqa: F401
    test_a_file_in_ranges,
    test_csv_rows_are_those_of_local_files,
    test_trained_killed_and_gone_on_with,
)
from storage.test_runs import ok, put_job

from hvdrec import storage

ADDRESS = os.environ.get("HVDREC_TEST_HDFS", "")

if not ADDRESS:
    pytest.skip("HVDREC_TEST_HDFS=hdfs://host:port names no file system", allow_module_level=True)


@pytest.fixture
def variables(tmp_path_factory):
    return {"HVDREC_WORK_DIR": str(tmp_path_factory.mktemp("work")), "HVDREC_STORE_PATIENCE": "30"}


@pytest.fixture
def store(variables, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return f"{ADDRESS}/hvdrec-test/{uuid.uuid4().hex[:8]}"


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.download(f"{store}/nothing", tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        storage.upload(tmp_path / "no-such-file", f"{store}/x")
    assert storage.listing(f"{store}/nothing") == {}


def test_two_ranks_train_export_and_predict(store, variables, tmp_path):
    put_job(store, tmp_path, steps=12, train_extra="save_checkpoints_steps: 4")
    ok("train", 2, ["--pipeline_config_path", f"{store}/x.config"], variables)
    there = storage.listing(f"{store}/run", recursive=True)
    assert {"model.ckpt-12.committed", "logs/rank-0.jsonl", "logs/rank-1.jsonl"} <= there.keys()
    ok("export", 1, ["--model_dir", f"{store}/run", "--export_dir", f"{store}/served"], variables)
    rows = ["--input_path", f"{store}/eval.csv", "--output_path", f"{store}/predicted.csv"]
    ok("predict", 1, ["--saved_model_dir", f"{store}/served", *rows], variables)
    assert len(storage.read_text(f"{store}/predicted.csv").splitlines()) == 61
