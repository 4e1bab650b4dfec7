"""Fields of `train_config` that say how variables are trained, on whole jobs."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data
from trainer.stopping import tensors, train

from hvdrec.commands.restored import restore
from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.evaluator import Evaluator

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.1 } }"
SGD = f"sgd_optimizer {{ {RATE} }}"
STEPS = 6


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    write_data(tmp_path / "train.csv", 400)
    return tmp_path / "train.csv"


def _run(data: pathlib.Path, name: str, steps: int = STEPS, **changes: object) -> dict[str, np.ndarray]:
    job = SmallJob(data, data.parent / name, steps=steps, **changes)  # type: ignore[arg-type]
    config = str(job.write(data.parent / f"{name}.config"))
    check(load(config))
    train(config, SingleReplica())
    return tensors(str(data.parent / name / f"model.ckpt-{steps}"))


def _start(data: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    return tensors(str(data.parent / name / "model.ckpt-0"))


@pytest.mark.parametrize(("model", "count"), [("DeepFM", 2), ("WideAndDeep", 3)])
def test_several_optimizers_of_one_kind_do_what_one_does(data: pathlib.Path, model: str, count: int) -> None:
    """Tables of one width then stand in several banks."""
    clip = "gradient_clipping_by_norm: 0.3"
    one = _run(data, "one", model=model, optimizer=SGD, train_extra=clip)
    more = " ".join([clip, *[f"optimizer_config {{ {SGD} }}"] * (count - 1)])
    several = _run(data, "several", model=model, optimizer=SGD, train_extra=more)
    assert one.keys() == several.keys()
    for name, value in one.items():
        np.testing.assert_allclose(several[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_each_optimizer_has_its_variables(data: pathlib.Path) -> None:
    second = f"optimizer_config {{ ftrl_optimizer {{ {RATE} }} }} optimizer_config {{ adam_optimizer {{ {RATE} }} }}"
    found = _run(data, "three", model="WideAndDeep", optimizer=SGD, train_extra=second)
    slots = {n for n in found if n.endswith(("/Ftrl", "/Adam"))}
    for name in found:
        if "/embedding_weights" in name and not name.endswith(("Ftrl", "Ftrl_1")):
            assert (f"{name}/Ftrl" in slots) == name.startswith("input_layer_1")
            assert f"{name}/Adam" not in slots
        elif name.endswith(("/kernel", "/bias", "/gamma", "/beta")):
            assert f"{name}/Adam" in slots
    assert {"beta1_power", "beta2_power"} <= found.keys()
    assert "beta1_power_1" not in found


@pytest.mark.parametrize("optimizers", [1, 2])
def test_frozen_variables_stay(data: pathlib.Path, optimizers: int) -> None:
    """A table among others of its width, a kernel; the gradient's norm is that of the others."""
    adam = f"adam_optimizer {{ {RATE} }}"
    freeze = 'freeze_gradient: "/b_embedding/" freeze_gradient: "^deep_feature/dnn_0/kernel:0$"'
    more = f"optimizer_config {{ {adam} }}" if optimizers == 2 else ""
    found = _run(data, "frozen", optimizer=adam, train_extra=f"{freeze} {more} gradient_clipping_by_norm: 1")
    start = _start(data, "frozen")
    frozen = {n for n in found if "/b_embedding/" in n} | {"deep_feature/dnn_0/kernel"}
    assert len(frozen) == 3  # wide, deep and the kernel, without slots
    for name in frozen:
        np.testing.assert_array_equal(found[name], start[name])
    weights = [n for n in found if f"{n}/Adam" in found]
    assert len(weights) > 10
    assert all((found[n] != start[n]).any() for n in weights)
    moving = [n for n in found if n.endswith("moving_mean")]
    assert moving
    assert all((found[n] != start[n]).any() for n in moving)


def test_the_embedding_multiplier_scales_the_gradient_of_tables(data: pathlib.Path) -> None:
    plain = _run(data, "plain", steps=1, optimizer=SGD)
    scaled = _run(data, "scaled", steps=1, optimizer=f"{SGD} embedding_learning_rate_multiplier: 0.25")
    start = _start(data, "plain")
    for name, value in plain.items():
        if name == "global_step":
            continue
        factor = 0.25 if "embedding_weights" in name else 1.0
        wanted = start[name] + factor * (value - start[name])
        np.testing.assert_allclose(scaled[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_moving_averages_are_saved_and_evaluated(data: pathlib.Path) -> None:
    average = f"{SGD} use_moving_average: true moving_average_decay: 0.5"
    found = _run(
        data, "averaged", optimizer=average, evaluation=data, train_extra="save_checkpoints_steps: 2"
    )
    name = "output/bias"
    steps = [tensors(str(data.parent / f"averaged/model.ckpt-{s}")) for s in (0, 2, 4, 6)]
    assert steps[0][name].tobytes() == steps[0][f"{name}/ExponentialMovingAverage"].tobytes()
    assert found[name].tobytes() != found[f"{name}/ExponentialMovingAverage"].tobytes()
    config = load(str(data.parent / "averaged.config"))
    job, _ = restore(config, SingleReplica(), None)
    bias = job.recommender.store.variables_by_name[name].numpy()
    assert bias.tobytes() == found[f"{name}/ExponentialMovingAverage"].tobytes()
    again = job.evaluate(Evaluator(job.recommender, job.feed))
    events = [
        value.simple_value or float(tf.make_ndarray(value.tensor))
        for path in sorted((data.parent / "averaged/eval_val").iterdir())
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
        if value.tag == "loss" and event.step == STEPS
    ]
    assert events == pytest.approx([again["loss"]], rel=1e-5)


def test_averages_begin_at_fine_tuned_values(data: pathlib.Path) -> None:
    _run(data, "old", optimizer=SGD)
    average = f"{SGD} use_moving_average: true"
    job = SmallJob(data, data.parent / "new", optimizer=average, steps=1,
                   train_extra=f'fine_tune_checkpoint: "{data.parent}/old"')  # fmt: skip
    Job(load(str(job.write(data.parent / "new.config"))), SingleReplica()).train(False, 0)
    start = _start(data, "new")
    averages = [n for n in start if n.endswith("/ExponentialMovingAverage")]
    assert averages
    for name in averages:
        assert start[name].tobytes() == start[name.removesuffix("/ExponentialMovingAverage")].tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_extra": f"optimizer_config {{ {SGD} }} optimizer_config {{ {SGD} }}"},
            "DeepFM takes at most 2",
        ),
        ({"train_extra": 'freeze_gradient: "("'}, r"freeze_gradient\[0\]: '\(' is not a regular expression"),
        ({"train_extra": 'dead_line: "tomorrow"'}, "dead_line: expected 'YYYYmmdd HH:MM:SS'"),
        (
            {"train_extra": f"optimizer_config {{ {SGD} embedding_learning_rate_multiplier: 2 }}"},
            "is only read from the first optimizer_config",
        ),
        (
            {"optimizer": f"{SGD} use_moving_average: true moving_average_decay: 1"},
            "moving_average_decay: must be",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(data: pathlib.Path, changes: dict[str, str], message: str) -> None:
    job = SmallJob(data, data.parent / "model", steps=1, **changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message):
        check(load(str(job.write(data.parent / "job.config"))))
