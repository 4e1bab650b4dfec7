"""The programs around a config."""

from __future__ import annotations

import itertools
import json
import pathlib

import numpy as np
import pytest
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError, DataError
from hvdrec.tools import (
    add_boundaries_to_config,
    convert_config_format,
    create_config_from_excel,
    pre_check,
)
from hvdrec.tools.quantiles import Sample


@pytest.fixture
def job(tmp_path: pathlib.Path) -> SmallJob:
    write_data(tmp_path / "rows.csv", 200)
    found = SmallJob(tmp_path / "rows.csv", tmp_path / "run")
    (tmp_path / "a.config").write_text(found.text())
    return found


def test_formats_hold_the_same_config(tmp_path: pathlib.Path, job: SmallJob) -> None:
    paths = [str(tmp_path / name) for name in ("a.config", "b.json", "c.config")]
    for source, target in itertools.pairwise(paths):
        arguments = ["--input_config", source, "--output_config", target]
        convert_config_format.run(convert_config_format.parse(arguments))
    protos = [load(path).proto for path in paths]
    assert protos[0] == protos[1] == protos[2]
    assert json.loads((tmp_path / "b.json").read_text())["model_config"]["model_class"] == "DeepFM"
    with pytest.raises(ConfigError, match=r"--output_config: .*b\.yaml: the file name must end in \.config"):
        convert_config_format.run(convert_config_format.ConvertFlags(paths[0], str(tmp_path / "b.yaml")))
    with pytest.raises(ConfigError, match="--output_config: is missing"):
        convert_config_format.parse(["--input_config", paths[0]])


def test_a_column_of_mostly_one_value_has_no_boundaries(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path / "rows.csv", 20)
    rows = [line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines()]
    lines = (",".join([*row[:5], "0" if i < 18 else "7", *row[6:]]) for i, row in enumerate(rows))
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "a.config").write_text(SmallJob(tmp_path / "rows.csv", tmp_path / "run").text())
    add_boundaries_to_config.run(
        add_boundaries_to_config.BoundariesFlags(
            str(tmp_path / "a.config"), str(tmp_path / "b.config"), num_buckets=4, features="x"
        )
    )
    assert "x: too few values above the smallest for 4 equal parts, unchanged" in capsys.readouterr().out


def test_boundaries_are_quantiles(tmp_path: pathlib.Path, job: SmallJob) -> None:
    arguments = ["--template_config_path", str(tmp_path / "a.config"), "--num_buckets", "4"]
    arguments += ["--output_config_path", str(tmp_path / "out" / "b.config"), "--features", "x,y"]
    add_boundaries_to_config.run(add_boundaries_to_config.parse(arguments))
    features = {
        f.input_names[0]: f for f in load(str(tmp_path / "out" / "b.config")).proto.feature_config.features
    }
    rows = np.genfromtxt(job.train, delimiter=",", usecols=(5, 6))
    for name, column in zip("xy", rows.T, strict=True):
        boundaries = np.array(features[name].boundaries)
        assert len(boundaries) == 3
        counts = np.bincount(np.searchsorted(boundaries, column, side="right"), minlength=4)
        assert counts.tolist() == [50, 50, 50, 50]
    with pytest.raises(ConfigError, match="no feature is named z"):
        add_boundaries_to_config.run(
            add_boundaries_to_config.BoundariesFlags(str(tmp_path / "a.config"), "b.config", features="z")
        )
    with pytest.raises(DataError, match=r"rows\.csv, row 1 on: column 'a'"):
        add_boundaries_to_config.run(
            add_boundaries_to_config.BoundariesFlags(str(tmp_path / "a.config"), "b.config", features="a")
        )
    with pytest.raises(ConfigError, match="--tables: quantile tables are not supported"):
        add_boundaries_to_config.parse([*arguments, "--tables", "odps://p/tables/t"])


def test_a_sample_of_many_numbers() -> None:
    values = np.random.default_rng(1).exponential(size=100_000)
    sample = Sample(20_000)
    for part in np.split(values, 50):
        sample.add(part)
    found = np.array(sample.boundaries(10))
    ranks = np.searchsorted(np.sort(values), found) / len(values)
    np.testing.assert_allclose(ranks, np.arange(1, 10) / 10, atol=0.015)
    assert sample.seen == 100_000


def test_few_values_have_few_buckets() -> None:
    sample = Sample(10)
    sample.add(np.array([1.0, 1.0, 1.0, np.nan, 2.0, 2.0]))
    assert sample.boundaries(5) == [2.0]
    one = Sample(10)
    one.add(np.zeros(5))
    assert one.boundaries(3) == []
    assert Sample(10).boundaries(3) == []


def test_pre_check_names_a_bad_row(
    tmp_path: pathlib.Path, job: SmallJob, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(tmp_path / "a.config")
    pre_check.run(pre_check.parse(["--pipeline_config_path", config]))
    assert "200 rows for training" in capsys.readouterr().out
    bad = tmp_path / "bad.csv"
    bad.write_text("1,a,b,x,t,1,1,u,1\n")
    with pytest.raises(DataError, match=r"bad\.csv, row 1, column 'c'"):
        pre_check.run(pre_check.parse(["--pipeline_config_path", config, "--data_input_path", str(bad)]))


TABLE = """name,data_type,type,group,global,hash_bucket_size,embedding_dim,default_value,weights,boundaries,query
label,double,label,label,,,,,,,
uid,string,category,user,uid,,,,,,
room,bigint,dense,user,,,8,,,"10,20,30",
cate,string,tags,user,,1000,10,0,cate_wgt,,
cate_wgt,string,weights,user,,,,,,,
seen,string,indexes,item,,50,4,,,,
other,string,notneed,,,,,,,,
friend,string,category,item,uid,,,,,,
"""
GLOBAL = "name,type,hash_bucket_size,embedding_dim,default_value\nuid,category,100000,10,none\n"


def table_flags(folder: pathlib.Path, table: str, model: str = "multi_tower") -> list[str]:
    (folder / "features.csv").write_text(table)
    (folder / "global.csv").write_text(GLOBAL)
    flags = ["--excel_path", str(folder / "features.csv"), "--global_path", str(folder / "global.csv")]
    flags += ["--output_path", str(folder / "t.config"), "--model_type", model]
    return [*flags, "--train_input_path", "rows.csv", "--eval_input_path", "rows.csv"]


def test_a_config_out_of_a_table(tmp_path: pathlib.Path) -> None:
    create_config_from_excel.run(create_config_from_excel.parse(table_flags(tmp_path, TABLE)))
    config = load(str(tmp_path / "t.config"))
    assert check(config) == []
    proto = config.proto
    assert list(proto.data_config.label_fields) == ["label"]
    assert [f.input_name for f in proto.data_config.input_fields][-2:] == ["other", "friend"]
    features = {f.input_names[0]: f for f in proto.feature_config.features}
    assert list(features) == ["uid", "room", "cate", "seen", "friend"]
    assert features["uid"].embedding_name == features["friend"].embedding_name == "uid"
    assert (features["uid"].hash_bucket_size, features["uid"].embedding_dim) == (100000, 10)
    assert list(features["room"].boundaries) == [10, 20, 30]
    assert list(features["cate"].input_names) == ["cate", "cate_wgt"]
    assert features["seen"].num_buckets == 50
    groups = {g.group_name: list(g.feature_names) for g in proto.model_config.feature_groups}
    assert groups == {"user": ["uid", "room", "cate"], "item": ["seen", "friend"]}
    fields = {f.input_name: f.default_val for f in proto.data_config.input_fields}
    assert (fields["uid"], fields["room"], fields["cate_wgt"]) == ("none", "0", "1")


def test_a_deepfm_out_of_a_table(tmp_path: pathlib.Path) -> None:
    table = TABLE.replace(",user,", ",wide_and_deep,").replace(",item,", ",deep,")
    table = table.replace(",8,", ",10,").replace(",50,4,", ",50,10,")
    create_config_from_excel.run(create_config_from_excel.parse(table_flags(tmp_path, table, "deepfm")))
    config = load(str(tmp_path / "t.config"))
    assert check(config) == []
    groups = {g.group_name: list(g.feature_names) for g in config.proto.model_config.feature_groups}
    assert groups == {"deep": ["uid", "room", "cate", "seen", "friend"], "wide": ["uid", "room", "cate"]}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("string,tags", "text,tags", "row 5, 'cate': type must be one of category"),
        (
            "1000,10,0,cate_wgt",
            "x,10,0,cate_wgt",
            "row 5, 'cate': hash_bucket_size must be a whole number of at most 9 digits, is 'x'",
        ),
        ("0,cate_wgt", "0,wgt", "row 5, 'cate': weights names 'wgt', which is not the name of a row"),
        ("10,20,30", "10;20", "row 4, 'room': boundaries must be comma-separated numbers"),
        ("10,20,30", "10,nan", "row 4, 'room': boundaries must be comma-separated numbers"),
        ("double,label", "double,notneed", "no row has type label"),
        ("name,data_type", "name,kind", "has no column data_type"),
        ("other,string,notneed,,", "other,string", "row 8: the number of cells differs"),
    ],
)
def test_what_is_wrong_with_a_table(tmp_path: pathlib.Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    flags = create_config_from_excel.parse(table_flags(tmp_path, TABLE.replace(old, new)))
    with pytest.raises(ConfigError, match=message):
        create_config_from_excel.run(flags)
