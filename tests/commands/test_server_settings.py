"""Settings that a run on parameter servers doesn't have."""

from __future__ import annotations

import pathlib

from small_job import SmallJob, write_data

from hvdrec.commands.train_on_servers import warn_of_unused
from hvdrec.config import load


def test_settings_of_the_exchange_between_ranks_are_told(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 8)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=8, steps=1)
    job.train_extra = "allreduce_compression: FP16 allgather_compression: NONE allreduce_buckets: 2"
    config = load(str(job.write(tmp_path / "job.config")))
    config.warnings.clear()
    warn_of_unused(config)
    fields = [warning.split(": ")[1] for warning in config.warnings]
    assert fields == ["train_config.allreduce_compression", "train_config.allreduce_buckets"]
    assert all("no effect with parameter servers" in warning for warning in config.warnings)
