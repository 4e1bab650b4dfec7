"""Updates tables on two servers and here with the same gradients; run by test_parameter_server.py.

Prints a line of JSON: optimizer -> variable or slot -> largest difference, and how far it has moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from served import start

from hvdrec.config.protos import optimizer_pb2
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.layers.banks.partitioned import PartitionedVariable
from hvdrec.layers.placement import HERE, Placement
from hvdrec.ops.policy import resolve
from hvdrec.optim.base import Optimizer
from hvdrec.optim.registry import build_optimizer
from hvdrec.parallel.parameter_server import OnServers

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.1 } }"
#: Name -> optimizer on the servers, whether in step, and what it is to be like.
CASES = {
    "sgd": ("sgd_optimizer", False, "sgd_optimizer"),
    "adagrad": ("adagrad_optimizer", False, "adagrad_optimizer"),
    "momentum": ("momentum_optimizer", False, "momentum_optimizer"),
    "momentumw": ("momentumw_optimizer", False, "momentumw_optimizer"),
    "rms_prop": ("rms_prop_optimizer", False, "rms_prop_optimizer"),
    "ftrl": ("ftrl_optimizer", False, "ftrl_optimizer"),
    "lazy_adam": ("lazy_adam_optimizer", False, "lazy_adam_optimizer"),
    "adam": ("adam_optimizer", False, "lazy_adam_optimizer"),
    "adam in step": ("adam_optimizer", True, "adam_optimizer"),
    "adamw in step": ("adamw_optimizer", True, "adamw_optimizer"),
    "averaged": ("sgd_optimizer", False, "sgd_optimizer"),
}
ROWS, WIDTH, STEPS = 7, 3, 3


def main() -> None:
    _, coordinator = start()
    report = {}
    for name, (field, in_step, like) in CASES.items():
        placement = OnServers(coordinator.strategy, 2, in_step)
        with coordinator.strategy.scope():
            there = _Updated(field, placement, name == "averaged")
        here = _Updated(like, HERE, name == "averaged")
        rng = np.random.default_rng(3)
        for step in range(STEPS):
            rows = rng.permutation(ROWS)[:4].astype(np.int32)
            values = rng.normal(size=(4, WIDTH)).astype(np.float32)
            dense = rng.normal(size=(2, 5)).astype(np.float32)
            arguments = [tf.constant(x) for x in (rows, values, dense)] + [tf.constant(step, tf.int64)]
            coordinator.fetch(coordinator.schedule(there.update, *arguments))
            here.update(*arguments)
        found, expected = there.values(), here.values()
        assert found.keys() == expected.keys(), (name, found.keys(), expected.keys())
        report[name] = {k: float(np.abs(found[k] - expected[k]).max()) for k in expected}
        report[name]["moved"] = float(np.abs(found["table"] - 1.0).max())
    print(json.dumps(report), flush=True)


class _Updated:
    """A table in two parts where the placement is servers, a dense variable, and their optimizer."""

    def __init__(self, field: str, placement: Placement, averaged: bool) -> None:
        text = f"{field} {{ {RATE} }} use_moving_average: {str(averaged).lower()} moving_average_decay: 0.5"
        self.optimizer: Optimizer = build_optimizer(text_format.Parse(text, optimizer_pb2.Optimizer()))
        self.optimizer.place(placement, resolve(own_kernels=placement.own_kernels))
        first = np.ones((ROWS, WIDTH), np.float32)
        self.parts: Sequence[tf.Variable]
        if placement is HERE:
            self.parts = [tf.Variable(first, name="table")]
        else:
            dealt = PartitionedVariable.deal(first, 2)
            self.parts = [tf.Variable(v, name=f"table/part_{p}") for p, v in enumerate(dealt)]
        self.table = PartitionedVariable("table", self.parts)
        self.dense = tf.Variable(np.ones((2, 5), np.float32), name="dense")
        self.optimizer.create_slots([*self.parts, self.dense])
        self.update = tf.function(self._update, autograph=False)

    def _update(self, rows: tf.Tensor, values: tf.Tensor, dense: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        divided = [(RowGradient(r, v), part) for part, r, v in self.table.divide(rows, values)]
        self.optimizer.apply([*divided, (dense, self.dense)], step)
        return tf.reduce_sum(self.table.gather(rows))

    def values(self) -> dict[str, np.ndarray]:
        found = {"table": self.table.numpy(), "dense": self.dense.numpy()}
        for slot, by_variable in self.optimizer.slots.items():
            parts = [v for name, v in by_variable.items() if name.startswith("table")]
            found[f"table/{slot}"] = PartitionedVariable(slot, parts).numpy()
            found[f"dense/{slot}"] = by_variable["dense"].numpy()
        return {**found, **{name: v.numpy() for name, v in self.optimizer.scalars.items()}}


if __name__ == "__main__":
    main()
