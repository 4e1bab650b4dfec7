"""CoMetricLearningI2I: EasyRec's variable names, and what it predicts."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import variable_key
from hvdrec.models.recommender import ForwardResult
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

MODEL = """loss_type: CIRCLE_LOSS
  feature_groups { group_name: "user" feature_names: ["a", "x"] wide_deep: DEEP }
  metric_learning { %s circle_loss { margin: 0.25 gamma: 8 } session_id: "uid"
    highway { input: "user" emb_size: 6 } }"""


def _job(folder: pathlib.Path, extra: str) -> Job:
    write_data(folder / "train.csv", 100)
    small = SmallJob(
        folder / "train.csv",
        folder / "run",
        model="CoMetricLearningI2I",
        model_extra=MODEL % extra,
        metrics="metrics_set { recall_at_topk { topk: 1 } }",
        data_extra='shuffle: false label_fields: "uid"',
    )
    return Job(load(small.write(folder / "x.config")), SingleReplica())


def test_names_of_variables(tmp_path: pathlib.Path) -> None:
    names = {variable_key(v) for v in _job(tmp_path, "").recommender.dense_trainable}
    assert {
        "dnn/dnn_0/kernel",
        "dnn/dnn_0/bn/gamma",
        "dnn/dnn_1/kernel",
        "dnn/dnn_1/bias",
        "highway_user_bn/gamma",
        "highway_0/input_projection/kernel",
        "highway_0/gate_0/bias",
        "highway_0/activation_0/kernel",
    } <= names
    assert not any(name.startswith("dnn/dnn_1/bn") for name in names)


@pytest.mark.parametrize("unit", [True, False])
def test_predictions(tmp_path: pathlib.Path, unit: bool) -> None:
    job = _job(tmp_path, f"output_l2_normalized_emb: {str(unit).lower()}")
    embeddings = tf.constant([[3.0, 4.0], [0.0, 0.0]])
    output = ForwardResult({"float_emb": embeddings}, tf.constant(0.0), {})
    found = job.recommender.predictions(output)
    assert set(found) == {"float_emb", "embedding"} | ({"norm_emb", "norm_embedding"} if unit else set())
    assert found["embedding"].numpy()[0] == b"3.000000,4.000000"
    if unit:
        np.testing.assert_allclose(found["norm_emb"].numpy(), [[0.6, 0.8], [0, 0]], atol=1e-7)
        assert found["norm_embedding"].numpy()[0] == b"0.600000,0.800000"


def test_highway(tmp_path: pathlib.Path) -> None:
    (_, _, highway), *_ = _job(tmp_path, "").recommender.model.towers
    x = np.random.default_rng(0).normal(size=(5, highway.projection.kernel.shape[0])).astype(np.float32)

    def gelu(v: np.ndarray) -> np.ndarray:
        return 0.5 * v * (1 + np.tanh(np.sqrt(2 / np.pi) * (v + 0.044715 * v**3)))

    def dense(layer: object, v: np.ndarray) -> np.ndarray:
        return v @ layer.kernel.numpy() + layer.bias.numpy()

    h = gelu(dense(highway.projection, x))
    gate = 1 / (1 + np.exp(-dense(highway.gate, h)))
    expected = gelu(dense(highway.activation, h)) * gate + h * (1 - gate)
    np.testing.assert_allclose(
        highway(tf.constant(x), ForwardContext(training=False)).numpy(), expected, rtol=1e-5, atol=1e-6
    )


def test_labels_of_metrics_are_classes_within_sessions(tmp_path: pathlib.Path) -> None:
    (head,) = _job(tmp_path, "").recommender.heads
    assert head.config.id_labels == ("label", "uid")
    arrays = {"id/label": np.array([1, 1, 2, 1]), "id/uid": np.array([7, 8, 7, 7])}
    found = head.evaluated_labels(arrays)
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 3
