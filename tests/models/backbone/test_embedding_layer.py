"""`embedding_layer`: a group embedded with tables of one width, against an input layer with the same weights."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import MODELS, SmallJob, write_data

from hvdrec.config import Config, load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError
from hvdrec.models.inputs import ModelInputs
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job

BLOCKS = """backbone { blocks { name: "ids" inputs { feature_group_name: "sparse" } embedding_layer { %s } }
  %s } model_params { l2_regularization: 0 }"""
MLP = 'keras_layer { class_name: "MLP" mlp { hidden_units: [4] } }'


def config(
    folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, layer: str, more: str, group: str = "sparse"
) -> Config:
    write_data(folder / "t.csv", 32)
    monkeypatch.setitem(MODELS, "RankModel", ((group,), BLOCKS % (layer, more)))
    path = SmallJob(
        folder / "t.csv", folder / "model", evaluation=folder / "t.csv", model="RankModel", steps=2
    ).write(folder / "c.config")
    return load(str(path))


@pytest.mark.parametrize(("combiner", "pooled"), [("mean", np.mean), ("sum", np.sum), ("weight", np.mean)])
def test_features_have_the_width_and_combiner_of_the_layer(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, combiner: str, pooled
) -> None:
    layer = f'embedding_dim: 6 concat: false combiner: "{combiner}"'
    more = f'blocks {{ name: "top" inputs {{ block_name: "ids" input_fn: "lambda x: tf.concat(x, axis=1)" }} {MLP} }}'
    found = config(tmp_path, monkeypatch, layer, more)
    check(found)
    job = Job(found, SingleReplica())
    assert {table.dim for table in job.plan.tables} == {6}
    assert np.isfinite(job.train(False, 0).get("loss", 0.0))
    with open_batches(job.proto, job.plan, SingleReplica(), False) as batches:
        arrays = job.feed.unpack(job.feed.stack([next(batches)]), tf.constant(0))
    touched = job.recommender.touch(arrays)
    tags = ModelInputs(job.plan, arrays, touched).features("sparse")[3].numpy()
    index, segment = (arrays[f"bank0/multi_{part}"].numpy() for part in ("index", "segment"))
    for row in range(len(tags)):
        rows = touched[0].numpy()[index[segment == row] - 1]
        expected = pooled(rows, axis=0) if len(rows) else np.zeros(6)
        np.testing.assert_allclose(tags[row], expected, rtol=1e-5, atol=1e-6)


def test_mistakes_are_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = f'blocks {{ name: "top" inputs {{ block_name: "ids" }} {MLP} }}'
    both = top + f' blocks {{ name: "again" inputs {{ feature_group_name: "sparse" }} {MLP} }}'
    for layer, more, problem in (
        (
            'embedding_dim: 4 combiner: "max"',
            top,
            "embedding_layer.combiner: must be one of weight, mean, sum",
        ),
        ("embedding_dim: 0", top, "embedding_layer.embedding_dim: must be at least 1"),
        ("embedding_dim: 4", both, "group 'sparse' is read by another layer too"),
    ):
        with pytest.raises(ConfigError, match=problem):
            check(config(tmp_path, monkeypatch, layer, more))
    monkeypatch.setitem(MODELS, "RankModel", MODELS["RankModel"])
    wrong = BLOCKS.replace('"sparse"', '"user"') % ("embedding_dim: 4", top)
    monkeypatch.setitem(MODELS, "RankModel", (("user",), wrong))
    path = SmallJob(tmp_path / "t.csv", tmp_path / "model", model="RankModel").write(tmp_path / "c.config")
    with pytest.raises(ConfigError, match="needs ids, but feature 'x' has none"):
        check(load(str(path)))
