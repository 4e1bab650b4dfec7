"""Every number of every loss, optimizer and schedule at its limits: refused by the check, or it runs."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from losses import running
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.protos import loss_pb2, optimizer_pb2
from hvdrec.config.support import OPTIMIZERS, RANGES, SCHEDULES
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.base import LossBatch
from hvdrec.optim.base import RowGradient
from hvdrec.optim.registry import build_optimizer
from hvdrec.optim.schedules.registry import build_schedule

_FLOATS = (0.0, 1.0, -1.0, 1e-38, 1e-12, 1e-3, 0.5, 20.0, 1e4, 1e10, 3e38, -1e-3, -1e4, -1e10, -3e38)
_WHOLE = (0, 1, 2, 1000, 2**31 - 1)
_ROWS = 150


def _edges(message: Message, field: FieldDescriptor) -> list[float]:
    """Numbers to try in a field: usual and absurd ones, and those around its range."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        found = RANGES.get(f"{message.DESCRIPTOR.name}.{field.name}")
        ends = [e for e in (found.low, found.high) if np.isfinite(e)] if found else []
        beside = [
            float(np.nextafter(np.float32(e), np.float32(to))) for e in ends for to in (-np.inf, np.inf)
        ]
        return [*_FLOATS, *ends, *beside]
    return list(_WHOLE)


def _numbers(message: Message) -> Iterator[tuple[FieldDescriptor, float]]:
    for field in message.DESCRIPTOR.fields:
        kinds = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32)
        if field.cpp_type in (*kinds, FieldDescriptor.CPPTYPE_INT64):
            for value in _edges(message, field):
                yield field, value


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ranges")
    found = load(
        str(
            SmallJob(pathlib.Path("rows.csv"), folder / "run", steps=5, metrics="").write(folder / "x.config")
        )
    )
    expand(found)
    return found


def _accepted(config, path: str, message: Message) -> bool:
    """Whether the check takes a config with this message."""
    if path == "losses":
        del config.proto.model_config.losses[:]
        config.proto.model_config.losses.add().CopyFrom(message)
    else:
        config.proto.train_config.optimizer_config[0].CopyFrom(message)
    try:
        check(config)
    except ConfigError:
        return False
    return True


def _finite_loss(loss: loss_pb2.Loss) -> bool:
    """Whether a loss and its gradient are finite: of rows like those of training, and of extreme ones."""
    rng = np.random.default_rng(3)
    built = registry.build(loss, 1)
    for scale in (1.0, 20.0):
        logits = tf.constant(scale * rng.normal(size=_ROWS), tf.float32)
        batch = LossBatch(
            logits=logits,
            labels=tf.constant(rng.integers(0, 2, _ROWS), tf.float32),
            weights=None,
            session=lambda name: tf.constant(rng.integers(0, 9, _ROWS), tf.int64),
            num_class=1,
        )
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss.weight * built.compute(batch)
        gradient = tape.gradient(value, logits)
        if not (np.isfinite(value.numpy()) and np.isfinite(gradient.numpy()).all()):
            return False
    return True


_LOSSES = sorted({text.split(" ")[1] for text in running.CONFIGS})


@pytest.mark.parametrize("kind", _LOSSES)
def test_losses(config, kind: str) -> None:
    given = loss_pb2.Loss(loss_type=kind)
    field = registry.spec(given.loss_type).param_field
    tried = 0
    for where in ("", field) if field else ("",):
        for number, value in _numbers(getattr(given, where) if where else given):
            loss = loss_pb2.Loss(loss_type=kind)
            setattr(getattr(loss, where) if where else loss, number.name, value)
            if _accepted(config, "losses", loss):
                assert _finite_loss(loss), f"{where}.{number.name}: {value}"
                tried += 1
    del config.proto.model_config.losses[:]
    assert tried > 4


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(config, name: str) -> None:
    given = getattr(optimizer_pb2.LearningRate(), name)
    usual = {"poly_decay_learning_rate": {"learning_rate_base": 0.1, "total_steps": 50, "power": 1.0}}
    usual["transformer_learning_rate"] = {"learning_rate_base": 0.1, "hidden_size": 64, "warmup_steps": 100}
    numbers = list(_numbers(given))
    pairs = [((a, x), (b, y)) for (a, x), (b, y) in itertools.combinations(numbers, 2) if a is not b]
    rng = np.random.default_rng(1)
    rng.shuffle(pairs)
    tried = 0
    for changes in [*((n,) for n in numbers), *pairs[:150]]:
        optimizer = optimizer_pb2.Optimizer()
        optimizer.sgd_optimizer.SetInParent()
        schedule = getattr(optimizer.sgd_optimizer.learning_rate, name)
        schedule.SetInParent()
        for key, value in usual.get(name, {}).items():
            setattr(schedule, key, value)
        if name == "manual_step_learning_rate":
            schedule.schedule.add(step=10, learning_rate=changes[0][1] if changes[0][1] > 0 else 0.5)
        for field, value in changes:
            setattr(schedule, field.name, value)
        if not _accepted(config, "optimizer", optimizer):
            continue
        tried += 1
        rate = build_schedule(optimizer.sgd_optimizer.learning_rate)
        for step in (0, 1, 9, 10, 49, 50, 51, 1000, 10**6, 10**10):
            found = float(rate(tf.constant(step, tf.int64)))
            assert 0 <= found < 1e7, f"{schedule} at step {step}: {found}"
    assert tried > 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(config, name: str) -> None:
    """Rows with gradient 0 and dense gradients too."""
    tried = 0
    given = getattr(optimizer_pb2.Optimizer(), name)
    for outer, message in (("", optimizer_pb2.Optimizer()), (name, given)):
        for field, value in _numbers(message):
            optimizer = optimizer_pb2.Optimizer(use_moving_average=not outer)
            inner = getattr(optimizer, name)
            inner.learning_rate.constant_learning_rate.learning_rate = 0.01
            setattr(inner if outer else optimizer, field.name, value)
            if not _accepted(config, "optimizer", optimizer):
                continue
            tried += 1
            assert _stays_finite(optimizer), f"{field.name}: {value}"
    assert tried > 3


def _stays_finite(optimizer: optimizer_pb2.Optimizer) -> bool:
    built = build_optimizer(optimizer)
    kernel, table = (
        tf.Variable([[1.0, -2.0]], name="kernel"),
        tf.Variable([[0.5], [0.0], [2.0]], name="table"),
    )
    step = tf.Variable(0, dtype=tf.int64)
    built.create_slots([kernel, table])
    for dense, rows in (
        ([[0.0, 0.0]], [[0.0], [0.0]]),
        ([[1.0, 0.0]], [[1.0], [-3.0]]),
        ([[0.0, 2.0]], [[0.0], [1.0]]),
    ):
        gradient = RowGradient(tf.constant([0, 1]), tf.constant(rows))
        built.apply([(tf.constant(dense), kernel), (gradient, table)], step)
        step.assign_add(1)
    return all(np.isfinite(v.numpy()).all() for v in (kernel, table))
