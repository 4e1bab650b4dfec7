import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data import open_source
from hvdrec.data.batch import InputPosition
from hvdrec.errors import ConfigError, DataError
from tests.data.reading import columns, model_epoch, numbers, write_files


@pytest.fixture
def config(tmp_path):
    write_files(tmp_path, [60, 43])

    def build(data_config="", paths=None):
        text = f"""
            {paths or f'train_input_path: "{tmp_path}/*.csv" eval_input_path: "{tmp_path}/part-000.csv"'}
            data_config {{
              input_type: CSVInput
              batch_size: 10
              num_epochs: 1
              input_fields {{ input_name: "n" input_type: INT64 }}
              input_fields {{ input_name: "at" input_type: STRING }}
              {data_config}
            }}"""
        return text_format.Merge(text, pipeline_pb2.EasyRecConfig())

    return build


def rows(config, **options):
    options = {"fields": columns("n"), "training": True, **options}
    return [n for block in numbers(open_source(config, **options)) for n in block]


def test_training_shuffles_with_the_config_s_buffer(config):
    assert rows(config(), seed=4) == model_epoch([60, 43], 4, 0, True, 32)
    assert rows(config("shuffle_buffer_size: 7"), seed=4) == model_epoch([60, 43], 4, 0, True, 7)
    assert rows(config("shuffle: false")) == list(range(103))


def test_epochs_remainder_and_start(config):
    options = {"fields": columns("n"), "training": True}
    plain = config("shuffle: false num_epochs: 2 drop_remainder: true")
    assert rows(plain) == [*range(103), *range(97)]
    assert rows(plain, start=InputPosition(1, 90)) == [*range(90, 100)]
    endless = open_source(config("shuffle: false num_epochs: 0"), **options)
    assert sum(block.columns.num_rows for block, _ in zip(endless, range(50), strict=False)) == 500
    endless.close()


def test_evaluation_is_one_pass_in_file_order(config):
    trained = config("num_epochs: 5 drop_remainder: true file_shard: true shuffle_buffer_size: 50")
    assert rows(trained, training=False) == list(range(60))
    assert rows(trained, training=False, rank=1, size=2) == [*range(10, 20), *range(30, 40), *range(50, 60)]
    blocks = numbers(open_source(config("eval_batch_size: 25"), fields=columns("n"), training=False))
    assert [len(block) for block in blocks] == [25, 25, 10]


def test_other_paths_and_raw_columns(config, tmp_path):
    assert rows(config("shuffle: false"), paths=[f"{tmp_path}/part-001.csv"]) == list(range(60, 103))
    (block, *_) = open_source(config(), fields=columns("at"), training=False, keep_raw=True)
    assert block.columns.schema.names == ["at", "n"]


def test_a_field_asked_for_twice_comes_once(config, tmp_path):
    options = {"fields": columns("n", "at", "n"), "training": False}
    (block, *_) = open_source(config(), **options)
    assert block.columns.schema.names == ["n", "at"]
    pq.write_table(pa.table({"n": [1], "at": [2]}), tmp_path / "a.parquet")
    (block,) = open_source(config("input_type: ParquetInput"), paths=[f"{tmp_path}/a.parquet"], **options)
    assert block.columns.schema.names == ["n", "at"]


def test_file_shard(config):
    assert rows(config("shuffle: false file_shard: true"), rank=1, size=2) == list(range(60, 103))


def test_quoting_is_off_unless_asked_for(config, tmp_path):
    path = tmp_path / "quoted.csv"
    path.write_text('"1",a\n')
    options = {"paths": [str(path)], "fields": columns("n"), "training": False}
    (block,) = open_source(config(), **options)
    assert block.columns.column(0).to_pylist() == [b'"1"']
    (block,) = open_source(config("csv_quoting: true"), **options)
    assert block.columns.column(0).to_pylist() == [b"1"]


def test_parquet(config, tmp_path):
    for name, values in [("train", [1, 2, 3]), ("eval", [4])]:
        pq.write_table(pa.table({"n": values}), tmp_path / f"{name}.parquet")
    paths = f'parquet_train_input: "{tmp_path}/train.parquet" parquet_eval_input: "{tmp_path}/eval.parquet"'
    parquet = config("input_type: ParquetInput shuffle: false", paths)
    assert rows(parquet) == [1, 2, 3]
    assert rows(parquet, training=False) == [4]


def test_selected_cols_without_a_header_warn(config, caplog):
    with caplog.at_level(logging.WARNING):
        rows(config('selected_cols: "n"'))
    assert "selected_cols: has no effect on CSV files without a header" in caplog.text


def test_selected_cols_with_a_header(config, tmp_path):
    path = tmp_path / "named.csv"
    path.write_text("at,n,x\na,5,7\n")
    named = config('with_header: true selected_cols: "n, at"')
    options = {"paths": [str(path)], "training": False}
    assert rows(named, **options) == [5]
    (block,) = open_source(named, fields=columns("n"), keep_raw=True, **options)
    assert block.columns.schema.names == ["n", "at"]
    with pytest.raises(ConfigError, match="the model also needs x"):
        open_source(named, fields=columns("x"), **options)


@pytest.mark.parametrize(
    ("data_config", "paths", "error", "message"),
    [
        (
            "input_type: OdpsRTPInputV2",
            None,
            ConfigError,
            "input_type: OdpsRTPInputV2 is not supported",
        ),
        ("batch_size: 0", None, ConfigError, "batch_size: must be at least 1"),
        ("", 'train_input_path: ""', DataError, "train_input_path: no path is given"),
        ("", 'eval_input_path: "x"', DataError, "train_input_path: no path is given"),
        (
            "",
            'train_input_path: "/nowhere/x.csv"',
            DataError,
            "train_input_path: no such file: /nowhere/x.csv",
        ),
    ],
)
def test_inputs_that_cannot_be_opened(config, data_config, paths, error, message):
    with pytest.raises(error, match=message):
        rows(config(data_config, paths))


def test_real_files(shared, config):
    adult = config("shuffle_buffer_size: 10000 batch_size: 100")
    del adult.data_config.input_fields[:]
    for i in range(15):
        adult.data_config.input_fields.add(input_name=f"c{i}")
    path = shared / "data/adult/adult_train.csv"
    expected = sorted(path.read_text().split())
    got = []
    for rank in range(3):
        fields = columns(*(f"c{i}" for i in range(15)))
        source = open_source(adult, paths=[str(path)], fields=fields, training=True, rank=rank, size=3)
        for block in source:
            values = [column.to_pylist() for column in block.columns.columns]
            got += [b",".join(row).decode() for row in zip(*values, strict=True)]
    assert sorted(got) == expected
