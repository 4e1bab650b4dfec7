"""Gradients in TensorBoard."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, tensors

from hvdrec.config import load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.events import read_all_scalars


def test_norms_are_those_of_the_updates_and_training_stays_the_same(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "t.csv", 96)
    still = "sgd_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.5 } } }"
    for name, extra in (("plain", ""), ("written", "summary_model_vars: true")):
        job = SmallJob(tmp_path / "t.csv", tmp_path / name, model="DeepFM", steps=3, optimizer=still,
                       train_extra=f"{extra} save_summary_steps: 2 save_checkpoints_steps: 1 "
                       "gradient_clipping_by_norm: 0.1")  # fmt: skip
        Job(load(str(job.write(tmp_path / "job.config"))), SingleReplica()).train(False, 0)
    assert_same_bits(str(tmp_path / "plain/model.ckpt-3"), str(tmp_path / "written/model.ckpt-3"))
    written = read_all_scalars(str(tmp_path / "written"))
    norms = {
        s: {n: v for n, v in values.items() if n.startswith("gradient_norm/")}
        for s, values in written.items()
    }
    assert [s for s, values in norms.items() if values] == [0, 2]
    for step in (0, 2):
        before, after = (tensors(str(tmp_path / f"written/model.ckpt-{s}")) for s in (step, step + 1))
        moved = {n: np.linalg.norm((before[n] - after[n]).astype(np.float64)) / 0.5 for n in before}
        expected = {
            f"gradient_norm/{n}_0": v for n, v in moved.items() if f"gradient_norm/{n}_0" in norms[step]
        }
        assert len(expected) == len(norms[step]) > 10
        assert any("embedding_weights" in name and value > 0 for name, value in expected.items())
        assert norms[step] == pytest.approx(expected, rel=1e-2, abs=1e-5)
        assert np.sqrt(sum(v**2 for v in norms[step].values())) <= 0.1 * (1 + 1e-5)
