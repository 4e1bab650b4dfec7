"""A model_dir that is removed during its run."""

from __future__ import annotations

import logging
import pathlib
import shutil

import pytest
import tensorflow as tf
from small_job import SmallJob

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.config import load
from hvdrec.trainer.run import log
from hvdrec.trainer.run.run_folder import RunFolder


def test_a_removed_model_dir_is_this_runs_again_at_the_next_save(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log.logger, "propagate", True)
    path = SmallJob(tmp_path / "train.csv", tmp_path / "run").write(tmp_path / "pipeline.config")
    folder = RunFolder(load(path))
    lock = folder.lock()
    lock.acquire(lambda: False)
    config = tmp_path / "run" / "pipeline.config"
    folder.claim(lambda: config.write_text("the config"))
    store = folder.open_store()
    entries = [SavedTensor("global_step", tf.Variable(7, dtype=tf.int64), None)]
    store.save(1, entries, {})
    shutil.rmtree(tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        prefix = store.save(2, entries, {})
    assert "was removed during the run" in caplog.text
    assert config.read_text() == "the config"
    assert store.latest() == prefix
    assert (tmp_path / "run" / ".lock").exists()
    lock.release()
    assert not (tmp_path / "run" / ".lock").exists()
