"""Layers that compute the columns of a repeated id once have the gradients of those that don't know of it."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from serving.exported import random_job
from small_job import MODELS, SmallJob, write_data

from hvdrec.config import load
from hvdrec.data.batch import PackedBatch
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.feed_forward import block
from hvdrec.models.inputs import ModelInputs
from hvdrec.ops.dense_layer import DenseOutput, dense_layer
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.assembly import build_step
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.step.step import Rows

ROWS = 300
#: Their first layers multiply a whole group.
TAKE_GROUPS = ("DBMTL", "DCN", "DSSM", "DeepFM", "MMoE", "PLE", "SimpleMultiTask", "WideAndDeep")

#: Their small jobs need embeddings 4 wide, and a batch sampler.
OTHERS = ("DLRM", "CoMetricLearningI2I")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of repeated ids of each dense layer that is built; native implementations."""
    found: list[int] = []

    def spy(*args: object, **named: str) -> DenseOutput:
        *_, repeated = args
        found.append(0 if repeated is None else len(repeated.starts))  # type: ignore[attr-defined]
        return dense_layer(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(block, "dense_layer", spy)
    monkeypatch.setenv("HVDREC_OPS", "native")
    return found


@pytest.mark.parametrize("model", [model for model in MODELS if model not in OTHERS])
def test_gradients_are_the_same(
    model: str, known: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    job, batch = _job(tmp_path, model)
    found = _step(job, batch)
    assert max(known, default=0) > 0 or model not in TAKE_GROUPS
    known.clear()
    monkeypatch.setattr(ModelInputs, "_repeated", lambda *_: None)
    expected = _step(job, batch)
    assert not any(known)
    for name, value in expected.items():
        scale = max(np.abs(value).max(), 1e-3)
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4 * scale, err_msg=name)


def test_variational_dropout_changes_columns_that_repeat(known: list[int], tmp_path: pathlib.Path) -> None:
    job, batch = _job(tmp_path, "DeepFM", "variational_dropout { regularization_lambda: 0.01 }")
    _step(job, batch)
    assert known
    assert not any(known)


def _job(folder: pathlib.Path, model: str, more: str = "") -> tuple[Job, PackedBatch]:
    write_data(folder / "rows.csv", ROWS)
    written = SmallJob(
        folder / "rows.csv", folder / "run", model, batch_size=ROWS, batch_norm=False, model_extra=more
    )
    path = folder / "job.config"
    path.write_text(written.text().replace("embedding_dim: 4", "embedding_dim: 16"))
    config = load(str(path))
    job = random_job(config)
    with open_batches(config.proto, job.plan, SingleReplica(), True) as loader:
        return job, next(loader)


def _step(job: Job, batch: PackedBatch) -> dict[str, np.ndarray]:
    """The gradients of all variables, by name."""
    step = build_step(job, batch)
    unpacked = job.feed.unpack(job.feed.stack([batch]), tf.constant(0))
    rows = Rows.of(tf.constant(batch.rows), tf.constant(float(batch.rows)))
    exchanged = step.exchange(unpacked, rows, tf.constant(0, tf.int64))
    found = {}
    for variable, gradient in zip(step.variables, exchanged.gradients, strict=True):
        if isinstance(gradient, RowGradient):
            gradient = gradient.densify(variable.shape[0])
        found[variable.name] = gradient.numpy()
    return found
