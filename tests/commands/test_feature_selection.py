"""Features ranked by the rates that EasyRec's run learned."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from golden.easyrec import golden_run

from hvdrec.commands.feature_selection import select
from hvdrec.config import load
from hvdrec.config.flags.feature_selection import (
    FeatureSelectionFlags,
    load_for_feature_selection,
    parse_feature_selection,
)
from hvdrec.errors import CheckpointError, ConfigError


def test_features_of_easyrecs_run(tmp_path: pathlib.Path) -> None:
    run = golden_run("variational_dropout_dbmtl")
    fg = tmp_path / "fg.json"
    names = list(load(str(run.folder / "pipeline.config")).proto.model_config.feature_groups[0].feature_names)
    fg.write_text(json.dumps({"features": [{"feature_name": name} for name in names], "reserves": []}))
    arguments = ["--config_path", str(run.folder / "pipeline.config"), "--output_dir", str(tmp_path / "out")]
    arguments += ["--checkpoint_path", run.checkpoint(30), "--topk", "5", "--fg_path", str(fg), "--visualize"]
    flags = parse_feature_selection(arguments)
    config = load_for_feature_selection(flags)
    select(config, flags)

    rates = 1 / (1 + np.exp(-tf.train.load_checkpoint(run.checkpoint(30)).get_tensor("logit_p")))
    with open(tmp_path / "out" / "feature_dropout_ratio_all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["feature_name"] for row in rows] != names
    assert sorted(row["feature_name"] for row in rows) == sorted(names)
    found = [float(row["mean_drop_p"]) for row in rows]
    assert found == sorted(found)
    # The first feature of the group has the first columns.
    width = len(rates) // len(names)
    first = next(float(row["mean_drop_p"]) for row in rows if row["feature_name"] == names[0])
    assert first == pytest.approx(rates[:width].mean(), rel=1e-6)

    kept = {row["feature_name"] for row in rows[:5]}
    written = load(str(tmp_path / "out" / "pipeline.config")).proto
    assert set(written.model_config.feature_groups[0].feature_names) == kept
    assert {f.input_names[0] for f in written.feature_config.features} & set(names) == kept
    assert {
        f["feature_name"] for f in json.loads((tmp_path / "out" / "fg.json").read_text())["features"]
    } == kept
    picture = (tmp_path / "out" / "feature_dropout_pic_all.svg").read_text()
    assert picture.count("<rect") == len(names)


def test_what_is_missing_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="--config_path: is missing"):
        parse_feature_selection(["--output_dir", "out"])
    path = tmp_path / "a.config"
    path.write_text("model_config { }")
    flags = FeatureSelectionFlags(str(path), str(tmp_path))
    with pytest.raises(ConfigError, match="variational_dropout: is missing; its dropout rates are needed"):
        load_for_feature_selection(flags)
    with pytest.raises(ConfigError, match=r"a\.config would be overwritten"):
        select(load(str(path)), flags)
    run = golden_run("variational_dropout_dbmtl")
    config = load(str(run.folder / "pipeline.config"))
    config.proto.model_config.variational_dropout.embedding_wise_variational_dropout = False
    flags = FeatureSelectionFlags(str(path), str(tmp_path / "out"), run.checkpoint(30))
    with pytest.raises(
        CheckpointError, match=r"logit_p has the shape \(136,\), but the config's group 'all'"
    ):
        select(config, flags)
