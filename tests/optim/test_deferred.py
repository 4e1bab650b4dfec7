"""Deferred updates of rows against updates at every step."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import optimizer_pb2
from hvdrec.errors import ConfigError
from hvdrec.layers import initializers
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.replicated import ReplicatedBank
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.layers.variables import variable_key
from hvdrec.ops import deferred_adam
from hvdrec.optim.base import Optimizer
from hvdrec.optim.registry import build_optimizer, build_optimizers

ROWS, DIM, TOUCHED = 400, 8, 20
#: Up from nothing, down by steps.
RATE = """learning_rate { exponential_decay_learning_rate { initial_learning_rate: 0.02 decay_steps: 40
          decay_factor: 0.7 burnin_steps: 25 burnin_learning_rate: 0.0001 } }"""
OPTIMIZERS = [
    f"adam_optimizer {{ {RATE} }}",
    f"adamw_optimizer {{ {RATE} weight_decay: 0.001 }}",
    f"adam_optimizer {{ {RATE} }} use_moving_average: true moving_average_decay: 0.98",
]


def _parsed(text: str) -> optimizer_pb2.Optimizer:
    return text_format.Parse(text, optimizer_pb2.Optimizer())


class Run:
    """One bank under an optimizer, one step a call."""

    def __init__(self, optimizer: Optimizer, deferred: bool, name: str = "bank") -> None:
        table = BankTable("table", ROWS, initializers.embedding_default(DIM))
        self.bank = ReplicatedBank(BankLayout(name, DIM, (table,)), seed=1)
        self.optimizer, self.step = optimizer, tf.Variable(0, dtype=tf.int64)
        optimizer.create_slots([self.bank.variable])
        self.deferred = optimizer.defer([self.bank], required=True) if deferred else []
        self.read = tf.function(self.bank.gather, autograph=False)
        self._update = tf.function(self._apply, autograph=False)

    def _apply(self, rows: tf.Tensor, values: tf.Tensor) -> None:
        self.optimizer.apply([(RowGradient(rows, values), self.bank.variable)], self.step)
        self.step.assign_add(1)

    def update(self, rows: np.ndarray, values: np.ndarray) -> None:
        self._update(tf.constant(rows), tf.constant(values))

    def values(self) -> dict[str, np.ndarray]:
        slots = {name: by[variable_key(self.bank.variable)] for name, by in self.optimizer.slots.items()}
        return {name: v.numpy() for name, v in {"": self.bank.variable, **slots}.items()}


def _batches(steps: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.uniform(-9, 0, (ROWS, 1))
    made = []
    for t in range(steps):
        # The last quarter of the rows is met late only, the last row never.
        met = ROWS * 3 // 4 if t < steps * 2 // 3 else ROWS - 1
        rows = random.permutation(met)[:TOUCHED].astype(np.int32)
        made.append((rows, (scale[rows] * random.normal(size=(TOUCHED, DIM))).astype(np.float32)))
    return made


def _distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_rows_that_wait_come_to_where_the_sweep_takes_them(text: str) -> None:
    swept, late = (Run(build_optimizer(_parsed(text)), deferred) for deferred in (False, True))
    assert (swept.deferred, late.deferred) == ([], ["bank"])
    for i, (rows, values) in enumerate(_batches(300)):
        for run in (swept, late):
            run.update(rows, values)
        if i in (7, 150):
            everything = tf.range(ROWS)
            held = late.bank.variable.numpy()
            assert _distance(late.read(everything).numpy(), swept.read(everything).numpy()) < 1e-6
            assert _distance(held, swept.read(everything).numpy()) > 1e-6
            np.testing.assert_array_equal(late.bank.variable.numpy(), held)
    read = late.read(tf.range(ROWS)).numpy()
    late.optimizer.settle()
    found, expected = late.values(), swept.values()
    np.testing.assert_array_equal(found[""], read)
    np.testing.assert_array_equal(found[""][-1], expected[""][-1])
    for name, value in expected.items():
        assert _distance(found[name], value) < (1e-6 if name == "" else 1e-5), name


def test_settling_often_and_rarely_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the room for steps ends within the run."""
    once, often = (Run(build_optimizer(_parsed(OPTIMIZERS[0])), True) for _ in range(2))
    monkeypatch.setattr(deferred_adam, "SETTLED_AFTER", 40)
    full = Run(build_optimizer(_parsed(OPTIMIZERS[0])), True)
    for i, (rows, values) in enumerate(_batches(100)):
        for run in (once, often, full):
            run.update(rows, values)
        if i % 7 == 0:
            often.optimizer.settle()
    for run in (once, often, full):
        run.optimizer.settle()
    for run in (often, full):
        assert _distance(run.values()[""], once.values()[""]) < 2e-7


def test_a_dense_gradient_is_one_of_all_rows() -> None:
    """The gradient of a table when dense exchange sends fewer bytes."""
    swept, late = (Run(build_optimizer(_parsed(OPTIMIZERS[0])), deferred) for deferred in (False, True))
    for i, (rows, values) in enumerate(_batches(12)):
        for run in (swept, late):
            gradient = RowGradient(tf.constant(rows), tf.constant(values))
            dense = gradient.densify(ROWS) if i % 3 else gradient
            run.optimizer.apply([(dense, run.bank.variable)], tf.constant(i))
    late.optimizer.settle()
    for name, value in swept.values().items():
        np.testing.assert_allclose(late.values()[name], value, rtol=2e-6, atol=1e-12)


def test_rows_met_at_every_step_round_as_in_the_sweep() -> None:
    swept, late = (Run(build_optimizer(_parsed(OPTIMIZERS[0])), deferred) for deferred in (False, True))
    for _, values in _batches(30):
        for run in (swept, late):
            run.update(np.arange(TOUCHED, dtype=np.int32), values)
    for name, value in swept.values().items():
        np.testing.assert_array_equal(late.values()[name][:TOUCHED], value[:TOUCHED])


def test_each_of_several_defers_its_own() -> None:
    configs = [_parsed(OPTIMIZERS[0]), _parsed(f"sgd_optimizer {{ {RATE} }}")]
    both = build_optimizers(configs, lambda v: int(variable_key(v).startswith("other")))
    tables = BankTable("table", ROWS, initializers.embedding_default(DIM))
    banks = [ReplicatedBank(BankLayout(name, DIM, (tables,)), seed=1) for name in ("bank", "other")]
    both.create_slots([bank.variable for bank in banks])
    assert both.defer(banks, required=True) == ["bank"]
    assert list(both.unsaved) == ["bank/steps"]
    assert banks[1].reader is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            f"adam_optimizer {{ {RATE} beta1: 0.9 beta2: 0.8 }}",
            "beta1 has to be well below the root of beta2",
        ),
        (f"sgd_optimizer {{ {RATE} }} use_moving_average: true", "averages all rows of these tables"),
    ],
)
def test_what_cannot_wait_is_refused_where_it_is_asked_for(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Run(build_optimizer(_parsed(text)), True)
    run = Run(build_optimizer(_parsed(text)), False)
    assert run.optimizer.defer([run.bank], required=False) == []
    assert run.bank.reader is None


@pytest.mark.parametrize("text", [f"lazy_adam_optimizer {{ {RATE} }}", f"momentum_optimizer {{ {RATE} }}"])
def test_rows_that_stay_need_not_wait(text: str) -> None:
    assert Run(build_optimizer(_parsed(text)), True).deferred == []


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_outside_is_refused_and_changes_nothing(row: int) -> None:
    run = Run(build_optimizer(_parsed(OPTIMIZERS[0])), True)
    before = run.values()
    for call in (run.read, lambda rows: run.update(rows, np.ones((2, DIM), np.float32))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"row {row} is outside of a table of 400"):
            call(np.asarray([1, row], np.int32))
    for name, value in before.items():
        np.testing.assert_array_equal(run.values()[name], value)


def test_rows_are_read_and_updated_after_the_last_step_there_is_room_for() -> None:
    run = Run(build_optimizer(_parsed(OPTIMIZERS[0])), True)
    (rows, values), (others, _) = _batches(2)
    run.update(rows, values)
    run.optimizer.settle()
    before = run.read(tf.constant(rows)).numpy()
    # As though that many steps had passed, all of them with rate 0.
    run.optimizer._deferred._now.assign(deferred_adam.SETTLED_AFTER - 1)  # type: ignore[attr-defined]
    run.update(others, values)
    untouched = ~np.isin(rows, others)
    found = run.read(tf.constant(rows)).numpy()[untouched]
    np.testing.assert_allclose(found, before[untouched], rtol=0, atol=0.02)
    run.update(rows, values)
    assert np.isfinite(run.read(tf.range(ROWS))).all()
