"""What evaluations leave for TensorBoard, read back from its files."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from hvdrec.config import load
from hvdrec.metrics.base import EvalBatch
from hvdrec.metrics.curves import Curves
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.drawing import UnitSquare
from hvdrec.trainer.watch.font import written
from hvdrec.trainer.watch.pictures import roc


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


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (0.5, 0)])
def test_places_in_a_picture(x: float, y: float) -> None:
    empty, picture = (UnitSquare("title", "across", "up") for _ in range(2))
    picture.curve(np.asarray([x, x]), np.asarray([y, y]))
    rows, columns = np.nonzero((picture.pixels != empty.pixels).any(axis=2))
    frame = np.nonzero((empty.pixels == (90, 90, 90)).all(axis=2))
    bottom, left = _corner(empty.pixels)
    assert abs(rows.mean() - (bottom - 319 * y)) <= 1
    assert abs(columns.mean() - (left + 319 * x)) <= 1
    assert len(frame[0])


def _corner(pixels: np.ndarray) -> tuple[int, int]:
    """Row and column of the square's lower left corner: the longest dark lines."""
    dark = (pixels == (90, 90, 90)).all(axis=2)
    return (
        int(np.flatnonzero(dark.sum(axis=1) > 300).max()),
        int(np.flatnonzero(dark.sum(axis=0) > 300).min()),
    )


def test_a_picture_says_what_it_shows() -> None:
    picture = UnitSquare("ROC curve, AUC 0.9229", "false positive rate", "true positive rate")
    dark = (picture.pixels == (90, 90, 90)).all(axis=2)
    bottom, left = _corner(picture.pixels)
    top = bottom - 319
    for place, text in [
        (dark[:top], "ROC curve, AUC 0.9229"),
        (dark[bottom + 16 :], "false positive rate"),
        (np.rot90(dark[:, : left - 24], -1), "true positive rate"),
        (dark[bottom + 1 : bottom + 16], "0.2"),
        (dark[:, left - 24 : left], "0.8"),
    ]:
        assert _holds(place, written(text)), text
    assert not _holds(dark[:top], written("ROC curve, AUC 0.9228"))


def _holds(pixels: np.ndarray, letters: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(pixels, letters.shape)
    return bool((windows == letters).all(axis=(2, 3)).any())


def test_the_area_under_a_curve_is_in_its_title(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = []
    monkeypatch.setattr(UnitSquare, "_write", lambda self, text, *place, **how: titles.append(text))
    curves = Curves()
    scores, labels = np.asarray([0.9, 0.8, 0.3, 0.1], np.float32), np.asarray([1, 0, 1, 0], np.float32)
    curves.update(EvalBatch(labels=labels, predictions={"probs": scores}, ids={}))
    roc(curves)
    assert "ROC curve, AUC 0.7500" in titles
    roc(curves, 0.9229)
    assert "ROC curve, AUC 0.9229" in titles
    titles.clear()
    roc(Curves())
    assert "ROC curve" in titles


def test_every_letter_has_a_form_of_its_own() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzACEORU0123456789.,-"
    assert len({written(letter).tobytes() for letter in letters}) == len(letters)
    assert written("a").shape == (7, 6)


def test_losses_of_training_and_evaluation_share_their_tags(tmp_path: pathlib.Path) -> None:
    """Else TensorBoard never draws them into one chart."""
    _, events = _trained(tmp_path)
    folders = events.Runs()
    training = set(folders["."]["tensors"])
    evaluation = set(folders["eval_val"]["tensors"])
    assert {"loss/cross_entropy_loss", "loss/total_loss"} <= training & evaluation
    assert "loss/loss/total_loss" in evaluation  # EasyRec's name
    (text,) = events.Tensors(".", "pipeline.config")
    assert b'    model_class: "DCN"' in tf.make_ndarray(text.tensor_proto).ravel()[0]
