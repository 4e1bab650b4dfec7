"""Configs and rows from a store give the same as from local files."""

import gzip
import json
import pathlib

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from data.reading import columns, csv_format, numbers, read, write_files
from small_job import SmallJob, write_data

from hvdrec import storage
from hvdrec.config.flags import TrainFlags, load_for_training
from hvdrec.data.files import list_files
from hvdrec.data.parquet_input import ParquetFormat
from hvdrec.errors import ConfigError, DataError, StoreGoneError


def put_all(folder, store):
    for path in sorted(folder.iterdir()):
        storage.upload(path, f"{store}/{path.name}")


@pytest.mark.parametrize("pattern", ["", "/", "/part-*.csv"])
def test_csv_rows_are_those_of_local_files(store, tmp_path, pattern):
    paths = write_files(tmp_path, [30, 0, 7])
    put_all(tmp_path, store)
    plan = {"batch_size": 8, "shuffle": True, "shuffle_buffer": 16, "epochs": 2}
    assert read(csv_format([f"{store}{pattern}"]), **plan) == read(csv_format(paths), **plan)


def test_compressed_files_and_shares(store, tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress("".join(f"{i},x\n" for i in range(5000)).encode()))
    put_all(tmp_path, store)
    data = csv_format([f"{store}/rows.csv.gz"])
    assert numbers(data.gather(_all(block)) for block in data.blocks([0])) == [list(range(5000))]
    assert data.share_read == 1.0


def _all(block):
    import numpy as np

    from hvdrec.data.rows import RowRefs

    return RowRefs([block], np.zeros(block.rows, np.int32), np.arange(block.rows, dtype=np.int32))


def write_parquet(path, rows):
    pq.write_table(
        pa.table({"n": list(range(rows)), "t": [f"word {i}" for i in range(rows)]}),
        path,
        row_group_size=rows // 3,
    )


@pytest.mark.parametrize("fault", ["slow_down", "cut", "reset"])
def test_parquet_survives_a_store_that_fails(shaky, proxy, tmp_path, fault):
    write_parquet(tmp_path / "a.parquet", 3000)
    put_all(tmp_path, shaky)
    data = ParquetFormat(list_files([f"{shaky}/*.parquet"]), columns("n", "t"), block_rows=100)
    proxy.fail(fault, times=5, method="GET", match=".parquet", skip=3)
    assert [n for block in read(data, batch_size=500) for n in block] == list(range(3000))


@pytest.mark.parametrize("fault", ["slow_down", "cut"])
def test_csv_survives_a_store_that_fails(shaky, proxy, tmp_path, fault):
    paths = write_files(tmp_path, [3000, 20])
    put_all(tmp_path, shaky)
    proxy.fail(fault, times=4, method="GET", match=".csv", skip=0)
    assert read(csv_format([shaky]), batch_size=50) == read(csv_format(paths), batch_size=50)


def test_rows_of_a_store_that_stays_away(shaky, proxy, tmp_path, monkeypatch):
    write_files(tmp_path, [30])
    put_all(tmp_path, shaky)
    data = csv_format([shaky])
    monkeypatch.setenv("HVDREC_STORE_PATIENCE", "0.5")
    proxy.fail("reset", times=None)
    with pytest.raises(StoreGoneError, match=rf"{shaky}/part-000.csv: the store has failed"):
        read(data, batch_size=8)


def test_paths_that_name_nothing(store):
    with pytest.raises(DataError, match=f"train_input_path: no such file: {store}/nothing"):
        list_files([f"{store}/nothing"], "train_input_path")
    with pytest.raises(DataError, match=rf"train_input_path: no file matches {store}/x\*"):
        list_files([f"{store}/x*"], "train_input_path")


def test_a_config_with_all_it_names(store, tmp_path):
    write_data(tmp_path / "rows.csv", 20)
    text = SmallJob(tmp_path / "rows.csv", pathlib.Path("run")).text()
    assert "hash_bucket_size: 50" in text
    text = text.replace("hash_bucket_size: 50", f'vocab_file: "{store}/words"', 1)
    storage.write_text(f"{store}/x.config", text)
    storage.write_text(f"{store}/hpo.json", json.dumps({"param": {"train_config.num_steps": 7}}))
    flags = TrainFlags(f"{store}/x.config", model_dir="file:///tmp/run", hpo_param_path=f"{store}/hpo.json")
    with pytest.raises(ConfigError, match=rf"x.config:\d+: .*vocab_file: there is no file {store}/words"):
        load_for_training(flags)
    storage.write_text(f"{store}/words", "a1\na2\n")
    config = load_for_training(flags)
    assert config.proto.train_config.num_steps == 7
    assert config.proto.model_dir == "/tmp/run"
    from hvdrec.features import build_plan

    assert any(f.vocabulary == ("a1", "a2") for f in build_plan(config.proto).packer.id_features)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "odps://project/tables/rows",
            "odps://project/tables/rows is a MaxCompute table, but files are expected here; read tables as train",
        ),
        (
            "s3://AKIA:hush-hush@bucket/x",
            "must not contain a user or key before an @; give keys in environment variables",
        ),
    ],
)
def test_paths_a_config_may_not_have(tmp_path, path, message):
    (tmp_path / "x.config").write_text(SmallJob(tmp_path / "rows.csv", pathlib.Path("run")).text())
    flags = TrainFlags(str(tmp_path / "x.config"), train_input_path=(path,))
    with pytest.raises(ConfigError, match=message) as caught:
        load_for_training(flags)
    assert "hush" not in str(caught.value)
