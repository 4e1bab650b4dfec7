"""What evaluations leave for TensorBoard, read back from its files."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from hvdrec.config import load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.drawing import UnitSquare


def _trained(tmp_path: pathlib.Path, **more: str) -> tuple[Job, EventMultiplexer]:
    write_data(tmp_path / "train.csv", 64)
    job = SmallJob(
        tmp_path / "train.csv",
        tmp_path / "model",
        model="DCN",
        evaluation=tmp_path / "train.csv",
        steps=2,
        **more,
    )
    config = load(str(job.write(tmp_path / "c.config")))
    if "num_class" in more.get("model_extra", ""):
        del config.proto.eval_config.metrics_set[:]
    trained = Job(config, SingleReplica())
    trained.train(False, 0)
    events = EventMultiplexer().AddRunsFromDirectory(str(job.model_dir))
    events.Reload()
    return trained, events


def test_curves_and_norms(tmp_path: pathlib.Path) -> None:
    job, events = _trained(tmp_path)
    assert events.PluginRunToTagToContent("pr_curves").keys() == {"eval_val"}
    (curve,) = events.Tensors("eval_val", "precision_recall/pr_curves")
    counts = tf.make_ndarray(curve.tensor_proto)
    assert (curve.step, counts.shape) == (2, (6, 201))
    assert counts[:4].sum(axis=0).tolist() == [64] * 201
    images = events.PluginRunToTagToContent("images")["eval_val"]
    assert images.keys() == {"roc", "calibration"}
    for name in images:
        width, height, png = tf.make_ndarray(events.Tensors("eval_val", name)[0].tensor_proto)[:3]
        pixels = tf.io.decode_png(png).numpy()
        assert pixels.shape == (int(height), int(width), 3)
        assert (pixels == (33, 102, 172)).all(axis=2).any()
    norms = events.PluginRunToTagToContent("histograms")["eval_val"]
    tables = {t.name.removesuffix("/embedding_weights"): t.rows for t in job.plan.tables}
    assert norms.keys() == {f"embedding_norm/{name}" for name in tables}
    for name, rows in tables.items():
        buckets = tf.make_ndarray(events.Tensors("eval_val", f"embedding_norm/{name}")[0].tensor_proto)
        assert buckets[:, 2].sum() == rows


def test_models_without_one_probability_have_norms_alone(tmp_path: pathlib.Path) -> None:
    _, events = _trained(tmp_path, model_extra="num_class: 3")
    assert not events.PluginRunToTagToContent("pr_curves")
    assert events.PluginRunToTagToContent("histograms")["eval_val"]


@pytest.mark.parametrize(("x", "y", "place"), [(0, 0, (329, 10)), (1, 1, (10, 329)), (0.5, 0, (329, 170))])
def test_places_in_a_picture(x: float, y: float, place: tuple[int, int]) -> None:
    picture = UnitSquare()
    picture.curve(np.asarray([x, x]), np.asarray([y, y]))
    assert picture.pixels[place].tolist() == [33, 102, 172]
