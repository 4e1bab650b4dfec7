"""Whole runs on MaxCompute's tables, from a stand-in of its tunnel."""

import json
import os

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from multirank.launch import start
from small_job import SmallJob, write_data
from storage.tunnel import KEY, SECRET, tunnel
from trainer.stopping import assert_same_bits

pytest.importorskip("odps", reason="pyodps isn't installed: make build")

COLUMNS = {"label": pa.int64(), "a": pa.string(), "b": pa.string(), "c": pa.int64(), "tags": pa.string()}
COLUMNS |= {"x": pa.float64(), "y": pa.float64(), "uid": pa.string(), "weight": pa.float64()}


@pytest.fixture
def service(tmp_path):
    """Two tables, the same rows as Parquet files, and the file with keys."""
    with tunnel() as state:
        for name, rows, seed in (("train", 400, 0), ("eval", 60, 1)):
            write_data(tmp_path / f"{name}.csv", rows, seed)
            table = pc.read_csv(
                tmp_path / f"{name}.csv",
                pc.ReadOptions(column_names=list(COLUMNS)),
                convert_options=pc.ConvertOptions(column_types=COLUMNS),
            )
            pq.write_table(table, tmp_path / f"{name}.parquet")
            state.tables[name, "ds=20200101"] = table
        (tmp_path / "odps.ini").write_text(
            f"access_id={KEY}\naccess_key={SECRET}\nend_point=http://{state.address}\n"
        )
        yield state


def run(module, ranks, *flags):
    clean = {k: "" for k in os.environ if k.startswith(("ODPS_", "ALIBABA_"))}
    ended = start(
        "gloo" if ranks > 1 else "plain", ranks, ["-m", f"hvdrec.{module}", *flags], environment=clean
    )
    assert SECRET not in ended.stdout + ended.stderr
    return ended


def ok(*arguments):
    ended = run(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_trained_by_pais_command_evaluated_and_predicted(service, tmp_path):
    extra = "shuffle: true shuffle_buffer_size: 100"
    files = SmallJob(
        tmp_path / "train.parquet", tmp_path / "files", evaluation=tmp_path / "eval.parquet", data_extra=extra
    )
    text = files.text().replace("input_type: CSVInput", "input_type: ParquetInput")
    (tmp_path / "files.config").write_text(text)
    ok("train", 2, "--pipeline_config_path", str(tmp_path / "files.config"))

    text = files.text().replace("input_type: CSVInput", "input_type: OdpsInputV2")
    (tmp_path / "x.config").write_text(text)
    place = "odps://project/tables/{}/ds=20200101"
    keys = ["--odps_config", str(tmp_path / "odps.ini")]
    os.environ["ODPS_CONFIG_FILE_PATH"] = keys[1]
    try:
        ended = start(
            "plain",
            1,
            [
                *("-m", "hvdrec.launch", "pai", "-name", "easy_rec_ext", "-project", "algo_public"),
                *(f"-Dconfig={tmp_path}/x.config", "-Dcmd=train", '-Dcluster={"worker":{"count":2}}'),
                *(f"-Dtrain_tables={place.format('train')}", f"-Deval_tables={place.format('eval')}"),
                f"-Dmodel_dir={tmp_path}/tables",
            ],
        )
    finally:
        del os.environ["ODPS_CONFIG_FILE_PATH"]
    assert ended.returncode == 0, ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    assert_same_bits(tmp_path / "files", tmp_path / "tables")

    trained = ["--model_dir", str(tmp_path / "tables"), *keys]
    ok("eval", 1, *trained, "--eval_result_path", "again.txt")
    first, again = (
        json.loads((tmp_path / "tables" / f).read_text()) for f in ("eval_result.txt", "again.txt")
    )
    assert first["auc"] == again["auc"]
    predicted = tmp_path / "predicted.csv"
    ok("predict", 1, *trained, "--input_path", place.format("eval"), "--output_path", str(predicted))
    assert len(predicted.read_text().splitlines()) == 61
    refused = run("train", 1, "--pipeline_config_path", str(tmp_path / "x.config"), *keys)
    assert refused.returncode == 2
    assert "train.parquet is no table of MaxCompute" in refused.stderr
