"""A run that was stopped and continued ends with the same bits as one that never stopped."""

from __future__ import annotations

import pathlib
import signal
import threading

import pytest
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, train

from hvdrec.config import load
from hvdrec.errors import StoppedError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.signals import StopSignals

DECAY = """learning_rate { exponential_decay_learning_rate { initial_learning_rate: 0.01 decay_steps: 7
           decay_factor: 0.8 burnin_steps: 5 burnin_learning_rate: 0.001 } }"""
SHUFFLED = "shuffle: true shuffle_buffer_size: 100"
TERM, INT = signal.SIGTERM, signal.SIGINT


def _pair(folder: pathlib.Path, dropout: bool = False, **changes: object) -> list[str]:
    """The same job with two model_dirs."""
    if not (folder / "train.csv").exists():
        write_data(folder / "train.csv", 900)
    paths = []
    for name in ("whole", "stopped"):
        job = SmallJob(folder / "train.csv", folder / name, data_extra=SHUFFLED, **changes)  # type: ignore[arg-type]
        path = job.write(folder / f"{name}.config")
        if dropout:
            text = path.read_text()
            path.write_text(text.replace("[16, 8]", "[16, 8] dropout_ratio: [0.3, 0.2]"))
        paths.append(str(path))
    return paths


@pytest.mark.parametrize(
    ("model", "optimizer", "stops"),
    [
        ("DeepFM", f"adam_optimizer {{ {DECAY} }}", [(7, 0, TERM), (7, 0, INT), (29, 0, TERM)]),
        ("MultiTower", f"lazy_adam_optimizer {{ {DECAY} }}", [(1, 0, TERM), (39, 0, INT)]),
        ("DropoutNet", f"rms_prop_optimizer {{ {DECAY} }}", [(11, 0, TERM)]),
        ("DBMTL", f"adam_optimizer {{ {DECAY} }}", [(11, 0, TERM)]),
        ("CMBF", f"adam_optimizer {{ {DECAY} }}", [(29, 0, TERM)]),
    ],
)
def test_same_bits(tmp_path: pathlib.Path, model: str, optimizer: str, stops: list) -> None:
    """Over an epoch's end (28 steps), with shuffling, dropout, batch norm, a schedule and slots."""
    whole, stopped = _pair(
        tmp_path,
        dropout=model != "MultiTower",
        model=model,
        optimizer=optimizer,
        steps=40,
        train_extra="steps_per_call: 3",
    )
    seen, _ = train(whole, SingleReplica())
    again, codes = train(stopped, SingleReplica(), stops)
    assert codes == [128 + number for _, _, number in stops]
    assert again == seen
    assert_same_bits(str(tmp_path / "whole/model.ckpt-40"), str(tmp_path / "stopped/model.ckpt-40"))


def test_a_signal_before_the_first_batch_is_full(tmp_path: pathlib.Path) -> None:
    """A batch of more rows than the file has is filled by many epochs."""
    write_data(tmp_path / "train.csv", 40)
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", batch_size=30_000_000, steps=1)
    signals = StopSignals()
    built = Job(load(job.write(tmp_path / "job.config")), SingleReplica())
    signals.received = TERM
    with pytest.raises(StoppedError, match="stopped by SIGTERM before the first step") as stopped:
        built.train(False, 0, RunOptions(signals=signals))
    assert stopped.value.exit_code == 128 + TERM
    assert built.store.steps() == []
    assert "hvdrec-read" not in [thread.name for thread in threading.enumerate()]
