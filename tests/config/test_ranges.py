"""Every number of every loss, optimizer and schedule at its limits: refused by the check, or it runs."""

from __future__ import annotations

import importlib
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from small_job import SmallJob

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.config.expand import expand
from hvdrec.config.losses import DISTILLED_CLASSES
from hvdrec.config.losses import SPECS as LOSSES
from hvdrec.config.models.distillation import heads_of_model
from hvdrec.config.models.registry import SPECS
from hvdrec.config.protos import easy_rec_model_pb2, loss_pb2, optimizer_pb2
from hvdrec.config.support import OPTIMIZERS, RANGES, SCHEDULES
from hvdrec.errors import ConfigError
from hvdrec.losses import registry
from hvdrec.losses.base import Loss, LossBatch
from hvdrec.losses.distillation import distillation_terms
from hvdrec.losses.terms import LossTerm, TermBatch
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


def _config(folder: pathlib.Path, model: str = "DeepFM"):
    job = SmallJob(pathlib.Path("rows.csv"), folder / "run", model=model, steps=5, metrics="")
    found = load(str(job.write(folder / f"{model}.config")))
    expand(found)
    return found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory):
    return _config(tmp_path_factory.mktemp("ranges"))


def _accepted(config, path: str, message: Message) -> bool:
    """Whether the check takes a config with this message."""
    model = config.proto.model_config
    if path == "losses":
        del model.losses[:]
        model.losses.add().CopyFrom(message)
        model.num_class = _CLASSES.get(loss_pb2.LossType.Name(message.loss_type), 1)
    elif path == "kd":
        del model.kd[:]
        model.kd.add().CopyFrom(message)
    else:
        config.proto.train_config.optimizer_config[0].CopyFrom(message)
    try:
        check(config)
    except ConfigError:
        return False
    return True


def _finite_loss(loss: loss_pb2.Loss) -> bool:
    """Whether a loss and its gradient are finite: of rows like those of training, and of extreme ones."""
    kind = loss_pb2.LossType.Name(loss.loss_type)
    classes = _CLASSES.get(kind, 1)
    built = registry.build(loss, classes)
    return all(_is_finite(built, loss.weight, kind, classes, scale) for scale in (1.0, 20.0))


def _is_finite(built: Loss, weight: float, kind: str, classes: int, scale: float) -> bool:
    rng = np.random.default_rng(3)
    shape = (_ROWS, 6) if kind in _OWN else (_ROWS, classes) if classes > 1 else (_ROWS,)
    logits = tf.constant(scale * rng.normal(size=shape), tf.float32)
    labels = rng.integers(0, 2, _ROWS)
    if kind == "ZILN_LOSS":
        labels = labels * np.exp(rng.normal(0, 4, _ROWS))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        units = tf.math.l2_normalize(logits, axis=1) if kind in _OWN else logits
        batch = LossBatch(
            logits=logits,
            labels=tf.constant(labels, _LABELS.get(kind, tf.float32)),
            weights=None,
            session=lambda name: tf.constant(rng.integers(0, 9, _ROWS), tf.int64),
            num_class=classes,
            towers=(units, tf.roll(units, 1, axis=0)),
            step=tf.constant(3, tf.int64),
        )
        value = weight * built.compute(batch)
    gradient = tape.gradient(value, logits)
    return bool(np.isfinite(value.numpy()) and np.isfinite(gradient.numpy()).all())


#: The columns that losses of several need.
_CLASSES = {"JRC_LOSS": 2, "ZILN_LOSS": 3}
#: Losses of embeddings: the model that has them, and where its parameters are.
_OWN = {
    "CIRCLE_LOSS": ("CoMetricLearningI2I", ("metric_learning", "circle_loss")),
    "MULTI_SIMILARITY_LOSS": ("CoMetricLearningI2I", ("metric_learning", "multi_similarity_loss")),
    "SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": ("DropoutNet", ("dropoutnet", "softmax_loss")),
}
_LABELS = {"JRC_LOSS": tf.int32, "CIRCLE_LOSS": tf.int64, "MULTI_SIMILARITY_LOSS": tf.int64}
_WITHOUT_NUMBERS = {"ORDER_CALIBRATE_LOSS", "SOFTMAX_CROSS_ENTROPY"}
_LOSSES = sorted(set(LOSSES) - set(_OWN) - _WITHOUT_NUMBERS)


@pytest.mark.parametrize("kind", _LOSSES)
def test_losses(config, kind: str) -> None:
    given = loss_pb2.Loss(loss_type=kind)
    field = registry.spec(given.loss_type).param_field
    tried = 0
    for where in ("", field) if field else ("",):
        for number, value in _numbers(getattr(given, where) if where else given):
            loss = loss_pb2.Loss(loss_type=kind)
            if kind in ("JRC_LOSS", "LISTWISE_RANK_LOSS", "LISTWISE_DISTILL_LOSS"):
                getattr(loss, str(field)).session_name = "uid"
            setattr(getattr(loss, where) if where else loss, number.name, value)
            if _accepted(config, "losses", loss):
                assert _finite_loss(loss), f"{where}.{number.name}: {value}"
                tried += 1
    del config.proto.model_config.losses[:]
    config.proto.model_config.ClearField("num_class")
    assert tried > 4


@pytest.mark.parametrize("kind", _OWN)
def test_losses_of_embeddings(tmp_path: pathlib.Path, kind: str) -> None:
    model, (block, field) = _OWN[kind]
    config = _config(tmp_path, model)
    config.proto.model_config.loss_type = loss_pb2.LossType.Value(kind)
    parameters = getattr(getattr(config.proto.model_config, block), field)
    usual = type(parameters)()
    usual.CopyFrom(parameters)
    build = importlib.import_module(f"hvdrec.losses.{_MODULES.get(kind, kind.lower())}").build
    tried = 0
    for number, value in _numbers(usual):
        parameters.CopyFrom(usual)
        setattr(parameters, number.name, value)
        try:
            check(config)
        except ConfigError:
            continue
        # Each shift is a row of memory for each row.
        if number.name == "num_negative_samples" and value > 1000:
            continue
        tried += 1
        assert all(_is_finite(build(parameters, 1), 1.0, kind, 1, s) for s in (1.0, 20.0)), (
            f"{number.name}: {value}"
        )
    assert tried > 4


_MODULES = {"SOFTMAX_CROSS_ENTROPY_WITH_NEGATIVE_MINING": "softmax_negative_mining"}


@pytest.mark.parametrize("kind", sorted(set(DISTILLED_CLASSES) - set(_CLASSES)))
def test_distillation(config, kind: str) -> None:
    """The temperature divides logits; losses of several logits have none here."""
    tried = 0
    for number, value in _numbers(easy_rec_model_pb2.KD()):
        if number.name not in ("temperature", "loss_weight"):
            continue
        kd = easy_rec_model_pb2.KD(loss_type=kind, pred_name="logits", soft_label_name="weight")
        setattr(kd, number.name, value)
        config.proto.data_config.label_fields[:] = ["label", "weight"]
        if _accepted(config, "kd", kd):
            tried += 1
            (head,) = heads_of_model(SPECS["DeepFM"], config.proto)
            (term,) = distillation_terms([head], lambda space, batch: pytest.fail("no task space"))
            assert _finite_term(term), f"{number.name}: {value}"
    del config.proto.model_config.kd[:]
    config.proto.data_config.label_fields[:] = ["label"]
    assert tried > 4


def _finite_term(term: LossTerm) -> bool:
    rng = np.random.default_rng(3)
    logits = tf.constant(rng.normal(size=_ROWS), tf.float32)
    soft = tf.constant(rng.uniform(0, 1, _ROWS), tf.float32)
    sessions = tf.constant(rng.integers(0, 9, _ROWS), tf.int64)
    rows = LossBatch(logits, soft, None, lambda name: sessions)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = term.compute(
            TermBatch(
                outputs={},
                heads={"": rows},
                added={},
                label=lambda name: soft,
                prediction=lambda name: logits,
                arrays={},
                training=True,
            )
        )
    gradient = tape.gradient(value, logits)
    return bool(np.isfinite(value.numpy()) and np.isfinite(gradient.numpy()).all())


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
