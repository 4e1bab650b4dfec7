"""Whole runs on MaxCompute's tables, from a fake of its tunnel."""

import json
import os

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from small_job import SmallJob, write_data
from storage.running import ok, run
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


def test_trained_by_pais_command_evaluated_and_predicted(service, tmp_path):
    extra = "shuffle: true shuffle_buffer_size: 100"
    files = SmallJob(
        tmp_path / "train.parquet", tmp_path / "files", evaluation=tmp_path / "eval.parquet", data_extra=extra
    )
    text = files.text().replace("input_type: CSVInput", "input_type: ParquetInput")
    (tmp_path / "files.config").write_text(text)
    ok("train", 2, ["--pipeline_config_path", str(tmp_path / "files.config")], {}, SECRET)

    text = files.text().replace("input_type: CSVInput", "input_type: OdpsInputV2")
    (tmp_path / "x.config").write_text(text)
    place = "odps://project/tables/{}/ds=20200101"
    keys = str(tmp_path / "odps.ini")
    clean = {name: "" for name in os.environ if name.startswith(("ODPS_", "ALIBABA_"))}
    words = [
        *("pai", "-name", "easy_rec_ext", "-project", "algo_public"),
        *(f"-Dconfig={tmp_path}/x.config", "-Dcmd=train", '-Dcluster={"worker":{"count":2}}'),
        *(f"-Dtrain_tables={place.format('train')}", f"-Deval_tables={place.format('eval')}"),
        f"-Dmodel_dir={tmp_path}/tables",
    ]
    ok("launch", 1, words, {**clean, "ODPS_CONFIG_FILE_PATH": keys}, SECRET)
    assert_same_bits(tmp_path / "files", tmp_path / "tables")

    trained = ["--model_dir", str(tmp_path / "tables"), "--odps_config", keys]
    ok("eval", 1, [*trained, "--eval_result_path", "again.txt"], clean, SECRET)
    results = [tmp_path / "tables" / name for name in ("eval_result.txt", "again.txt")]
    first, again = (json.loads(path.read_text())["auc"] for path in results)
    assert first == again
    predicted = tmp_path / "predicted.csv"
    rows = ["--input_path", place.format("eval"), "--output_path", str(predicted)]
    ok("predict", 1, [*trained, *rows], clean, SECRET)
    assert len(predicted.read_text().splitlines()) == 61
    refused = run("train", 1, ["--pipeline_config_path", str(tmp_path / "x.config")], clean, SECRET)
    assert refused.returncode == 2
    assert "train.parquet is not a MaxCompute table" in refused.stderr
