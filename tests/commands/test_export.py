"""`python -m hvdrec.export` from its flags to its files."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow as tf
from multirank.launch import start
from serving.exported import random_job
from small_job import SmallJob, write_data

from hvdrec.config import load, save
from hvdrec.config.flags import load_for_export, parse_export
from hvdrec.errors import ConfigError
from hvdrec.serving.assets import asset_files


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A model_dir with a checkpoint of step 0."""
    folder = tmp_path_factory.mktemp("exported")
    write_data(folder / "rows.csv", 5)
    config = load(str(SmallJob(folder / "rows.csv", folder / "model").write(folder / "c.config")))
    job = random_job(config)
    job.store.save(0, job.entries(), {})
    save(config, folder / "model")
    return folder / "model"


def test_flags_and_files(model_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    (out / "1600000000").mkdir(parents=True)
    (tmp_path / "words.txt").write_text("w")
    flags = ["--model_dir", str(model_dir), "--export_dir", str(out), "--export_done_file", "done"]
    flags += ["--asset_files", f"{tmp_path}/words.txt,!dict/w.txt:{tmp_path}/words.txt", "--clear_export"]
    done = start("plain", 1, ["-m", "hvdrec.export", *flags])
    assert done.returncode == 0, done.stderr
    assert "step 0 exported to" in done.stdout
    (version,) = (p for p in out.iterdir() if p.is_dir())
    assert (out / "done").read_text() == "ExportDone"
    assets = version / "assets"
    assert sorted(str(p.relative_to(assets)) for p in assets.rglob("*") if p.is_file()) == [
        "dict/w.txt",
        "pipeline.config",
        "words.txt",
    ]
    assert set(tf.saved_model.load(str(version)).signatures) == {"serving_default"}


def test_asset_files_of_the_flag_replace_those_of_the_config(tmp_path: pathlib.Path) -> None:
    job = SmallJob(
        tmp_path / "t.csv", tmp_path / "m", export='exporter_type: "none" asset_files: ["a.txt", "b.txt"]'
    )
    flags = ["--export_dir", "out", "--pipeline_config_path", str(job.write(tmp_path / "x.config"))]
    for more, listed in (([], ["a.txt", "b.txt"]), (["--asset_files", "c.txt,d/e:f"], ["c.txt", "d/e:f"])):
        found = load_for_export(parse_export([*flags, *more]))
        assert list(found.proto.export_config.asset_files) == listed


def test_mistakes_are_told() -> None:
    flags = ["--model_dir", "m", "--export_dir", "out"]
    for arguments, message in (
        (["--model_dir", "m"], "--export_dir: is missing"),
        ([*flags, "--export_done_file", "a/b"], "--export_done_file: must be a file name without folders"),
        ([*flags, "--redis_url", "x"], "--redis_url: tables in a key-value store are not supported"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_export(arguments)
    for listed, message in (
        (["nowhere.txt"], "there is no file nowhere.txt"),
        (["../out:nowhere.txt"], "must be a relative name inside assets"),
        (["/abs:nowhere.txt"], "must be a relative name inside assets"),
    ):
        with pytest.raises(ConfigError, match=message):
            asset_files(listed)
