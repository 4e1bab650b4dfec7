"""DropoutNet: EasyRec's variable names, what it predicts, and the rows it drops."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.layers.context import ForwardContext
from hvdrec.layers.variables import variable_key
from hvdrec.models.dropoutnet import _drop_rows
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job

LOSSES = (
    "losses { loss_type: SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING } losses { loss_type: CLASSIFICATION }"
)


@pytest.fixture
def job(tmp_path: pathlib.Path) -> Job:
    write_data(tmp_path / "train.csv", 64)
    small = SmallJob(
        tmp_path / "train.csv",
        tmp_path / "run",
        model="DropoutNet",
        model_extra=LOSSES,
        metrics="metrics_set { auc {} } metrics_set { precision {} }",
    )
    return Job(load(small.write(tmp_path / "x.config")), SingleReplica())


def test_names_of_variables(job: Job) -> None:
    names = {variable_key(v) for v in job.recommender.dense_trainable}
    towers = {
        f"{side}_dnn/dnn_{i}/{part}"
        for side in ("user", "item")
        for i in (0, 1)
        for part in ("kernel", "bias")
    }
    assert (
        towers | {"user_content/dnn_0/kernel", "user_preference/dnn_0/bias", "item_content/dnn_0/bn/gamma"}
        <= names
    )
    assert not any(name.startswith(("item_preference", "user_dnn/dnn_1/bn")) for name in names)


def test_predictions(job: Job) -> None:
    recommender = job.recommender
    with open_batches(job.config.proto, job.plan, SingleReplica(), True) as batches:
        arrays = {n: tf.constant(a) for n, a in next(iter(batches)).arrays.items()}
    output = recommender.forward(arrays, recommender.touch(arrays), ForwardContext(training=False))
    found = {name: t.numpy() for name, t in recommender.predictions(output).items()}
    assert {
        "similarity",
        "user_emb",
        "item_emb",
        "float_user_emb",
        "float_item_emb",
        "probs",
        "logits",
    } == set(found)
    users, items = found["float_user_emb"], found["float_item_emb"]
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found["similarity"], (users * items).sum(1), atol=1e-6)
    np.testing.assert_allclose(found["probs"], 1 / (1 + np.exp(-found["similarity"])), rtol=1e-5)
    assert [float(x) for x in found["user_emb"][0].split(b",")] == pytest.approx(users[0].tolist(), abs=1e-6)


def test_rows_are_dropped_whole_and_others_scaled() -> None:
    x = tf.ones([4000, 3])
    assert _drop_rows(x, 0.5, "g", ForwardContext(training=False)) is x
    out = _drop_rows(x, 0.75, "g", ForwardContext(training=True, seed=tf.constant([1, 2]))).numpy()
    assert set(out.flatten()) == {0.0, 4.0}
    assert (out == out[:, :1]).all()
    assert abs((out[:, 0] > 0).mean() - 0.25) < 0.03
