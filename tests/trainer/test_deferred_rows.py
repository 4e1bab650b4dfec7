"""Whole jobs with deferred updates, against the same jobs that update all rows at each step."""

from __future__ import annotations

import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, tensors, train

from hvdrec.config import load
from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

DECAY = """learning_rate { exponential_decay_learning_rate { initial_learning_rate: 0.01 decay_steps: 30
           decay_factor: 0.7 burnin_steps: 20 burnin_learning_rate: 0.001 } }"""
ADAM, ADAMW = f"adam_optimizer {{ {DECAY} }}", f"adamw_optimizer {{ {DECAY} weight_decay: 1e-4 }}"
STEPS = 200


def _job(folder: pathlib.Path, name: str, updates: str, save: int = 1000, **changes: object) -> str:
    if not (folder / "train.csv").exists():
        write_data(folder / "train.csv", 900)
        write_data(folder / "eval.csv", 200, seed=1)
    values: dict[str, object] = {
        "evaluation": folder / "eval.csv",
        "steps": STEPS,
        # It makes gradients of nothing but rounding, of which Adam makes whole steps.
        "batch_norm": False,
        # So do rows of both labels that meet in a bucket, unless their weights differ.
        "data_extra": 'shuffle: true shuffle_buffer_size: 100 sample_weight: "weight"',
        "optimizer": ADAM,
        **changes,
    }
    values["train_extra"] = f"{values.get('train_extra', '')} row_updates: {updates}"
    path = SmallJob(folder / "train.csv", folder / name, **values).write(folder / f"{name}.config")  # type: ignore[arg-type]
    path.write_text(
        path.read_text().replace("save_checkpoints_steps: 1000", f"save_checkpoints_steps: {save}")
    )
    return str(path)


def _relative(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """How far apart variables are, in norm."""
    assert found.keys() == expected.keys()
    return {
        name: float(np.linalg.norm(found[name] - value) / max(np.linalg.norm(value), 1e-30))
        for name, value in expected.items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"train_extra": "gradient_clipping_by_norm: 0.5 steps_per_call: 3"},
        {"optimizer": ADAMW, "train_extra": 'freeze_gradient: "input_layer/b_embedding"'},
        {"optimizer": f"{ADAM} use_moving_average: true moving_average_decay: 0.97"},
    ],
)
def test_weights_and_slots_are_those_of_the_sweep(tmp_path: pathlib.Path, changes: dict) -> None:
    for name in ("SWEEP", "DEFERRED"):
        train(_job(tmp_path, name, name, save=70, **changes), SingleReplica())
    for step in (70, 140, STEPS):
        swept, late = (tensors(f"{tmp_path}/{name}/model.ckpt-{step}") for name in ("SWEEP", "DEFERRED"))
        apart = _relative(late, swept)
        tables = [name for name in apart if name.endswith("/embedding_weights")]
        assert len(tables) >= 5
        assert max(apart[name] for name in tables) < 1e-6, apart
        assert max(off for name, off in apart.items() if "/embedding_weights/" in name) < 1e-5, apart
        assert any(late[name].tobytes() != swept[name].tobytes() for name in tables)


def test_a_run_that_goes_on_from_a_save_by_steps_has_the_same_bits(tmp_path: pathlib.Path) -> None:
    whole, stopped = (_job(tmp_path, name, "DEFERRED", save=20, steps=60) for name in ("whole", "stopped"))
    train(whole, SingleReplica())
    _, codes = train(stopped, SingleReplica(), [(20, 0, signal.SIGTERM), (40, 0, signal.SIGINT)])
    assert codes == [143, 130]
    assert_same_bits(str(tmp_path / "whole/model.ckpt-60"), str(tmp_path / "stopped/model.ckpt-60"))


def test_two_optimizers_and_one_stopped_anywhere(tmp_path: pathlib.Path) -> None:
    """Stopped between saves, rows are rounded at another step: the last bits may differ, no more."""
    both = f"{ADAM} }} optimizer_config {{ {ADAM}"
    whole, stopped = (
        _job(tmp_path, name, "DEFERRED", steps=60, optimizer=both) for name in ("whole", "stopped")
    )
    train(whole, SingleReplica())
    train(stopped, SingleReplica(), [(33, 0, signal.SIGTERM)])
    apart = _relative(*(tensors(f"{tmp_path}/{name}/model.ckpt-60") for name in ("stopped", "whole")))
    assert max(off for name, off in apart.items() if "/embedding_weights" in name) < 1e-5, apart


def test_exported_models_hold_rows_up_to_date_and_stock_operations(tmp_path: pathlib.Path) -> None:
    path = _job(tmp_path, "job", "DEFERRED", steps=30, export='exporter_type: "final"')
    job = Job(load(path), SingleReplica())
    job.train(False, verify=10)
    assert job.exports is not None
    exported = job.exports.at_end()
    saved = tensors(str(tmp_path / "job/model.ckpt-30"))
    bank = job.recommender.banks[0]
    whole = np.concatenate([saved[table.name] for table in bank.layout.tables])
    np.testing.assert_array_equal(whole, bank.variable.numpy())
    held = tf.train.load_checkpoint(f"{exported}/variables/variables")
    assert any(np.array_equal(held.get_tensor(name), whole) for name in held.get_variable_to_shape_map())
    assert b"Hvdrec" not in (pathlib.Path(exported) / "saved_model.pb").read_bytes()
    assert bank.reader is not None


def test_what_training_is_asked_for_and_cannot_do_is_an_error(tmp_path: pathlib.Path) -> None:
    path = _job(tmp_path, "job", "DEFERRED", optimizer=f"lazy_{ADAM} use_moving_average: true")
    line = next(
        i for i, text in enumerate(pathlib.Path(path).read_text().splitlines(), 1) if "row_updates" in text
    )
    # Who evaluates or exports makes one too, wherever that is.
    job = Job(load(path), SingleReplica())
    with pytest.raises(
        ConfigError, match=rf"{path}:{line}: train_config.row_updates: DEFERRED: use_moving_average"
    ):
        job.train(False, 0)


@pytest.mark.parametrize(
    ("rows", "updates", "deferred"), [(200, "AUTO", []), (40000, "AUTO", ["bank_0"]), (40000, "SWEEP", [])]
)
def test_large_tables_are_deferred_by_default(
    tmp_path: pathlib.Path, rows: int, updates: str, deferred: list[str]
) -> None:
    path = pathlib.Path(_job(tmp_path, "job", updates, steps=2))
    text = path.read_text().replace("row_updates: AUTO", "")
    path.write_text(text.replace("hash_bucket_size: 200", f"hash_bucket_size: {rows}"))
    job = Job(load(str(path)), SingleReplica())
    job.train(False, 0)
    assert job.deferred == deferred
