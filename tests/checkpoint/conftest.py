"""A small model to save: a bank of two tables, a kernel, Adam's slots of each, beta powers, the step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor


@dataclasses.dataclass
class State:
    entries: list[SavedTensor]

    def fill(self, seed: int) -> None:
        """Other values in every variable; `global_step` becomes the seed."""
        random = np.random.default_rng(seed)
        for variable in {id(e.variable): e.variable for e in self.entries}.values():
            if variable.dtype == tf.int64:
                variable.assign(seed)
            else:
                variable.assign(random.normal(size=variable.shape).astype(np.float32))

    def values(self) -> dict[str, np.ndarray]:
        found = {}
        for e in self.entries:
            value = e.variable.numpy()
            found[e.name] = value if e.rows is None else value[e.rows[0] : e.rows[1]]
        return found

    def holds(self, seed: int) -> bool:
        """Whether every value is the one that `fill(seed)` gave."""
        mine, wanted = self.values(), make_state()
        wanted.fill(seed)
        return all(np.array_equal(mine[n], v) for n, v in wanted.values().items())


def make_state() -> State:
    entries = []
    for slot in ("", "/Adam", "/Adam_1"):
        bank = tf.Variable(tf.zeros([30, 4]), name=f"bank_4{slot}")
        entries.append(SavedTensor(f"input_layer/age_embedding/embedding_weights{slot}", bank, (0, 10)))
        entries.append(SavedTensor(f"input_layer/city_embedding/embedding_weights{slot}", bank, (10, 30)))
        kernel = tf.Variable(tf.zeros([3, 2]), name=f"deep/dnn_0/kernel{slot}")
        entries.append(SavedTensor(f"deep/dnn_0/kernel{slot}", kernel, None))
    for name in ("beta1_power", "beta2_power"):
        entries.append(SavedTensor(name, tf.Variable(0.0, name=name), None))
    entries.append(SavedTensor("global_step", tf.Variable(0, dtype=tf.int64, name="global_step"), None))
    return State(entries)


@pytest.fixture
def state() -> State:
    made = make_state()
    made.fill(1)
    return made


@pytest.fixture
def other() -> State:
    """The same model with zeros, to restore into."""
    return make_state()
