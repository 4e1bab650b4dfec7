"""Runs on every rank: losses over pairs of all ranks' rows, twice in one graph.

Called as ``pairs_worker.py rows.npz folder``. Rank 1 of three has no rows. Every rank writes
``rank<r>.npz`` into the folder: its losses, its gradients and which rows it had.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.models.spec import ModelSpec
from hvdrec.config.protos import easy_rec_model_pb2, pipeline_pb2
from hvdrec.losses.base import LossBatch, Replicas
from hvdrec.losses.combine import LossSet
from hvdrec.parallel.launch import join_group

#: Two that exchange sums, one of them with labels in grades; three that exchange rows.
LOSSES = """
  losses { loss_type: PAIR_WISE_LOSS pairwise_loss { cross_replica: true } }
  losses { loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss { cross_replica: true } }
  losses { loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss { session_name: "s" cross_replica: true } }
  losses { loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss { cross_replica: true } }
  losses { loss_type: PAIRWISE_HINGE_LOSS loss_name: "mined" pairwise_hinge_loss { ohem_ratio: 0.1 cross_replica: true } }
"""


def loss_set() -> LossSet:
    """The losses; they need no variables."""
    config = text_format.Parse(LOSSES, easy_rec_model_pb2.EasyRecModel())
    proto = pipeline_pb2.EasyRecConfig(model_config=config)
    return LossSet(ModelSpec().heads(proto), config.loss_weight_strategy, lambda *_: tf.Variable(0.0))


def values_and_gradients(
    rows: dict[str, np.ndarray], replicas: Replicas | None
) -> tuple[np.ndarray, np.ndarray]:
    """The losses [names] and their gradients by the logits [names, B], times the rank's share."""
    losses = loss_set()
    logits = tf.Variable(rows["logits"])
    share = tf.constant(1.0) if replicas is None else replicas.share

    @tf.function(autograph=False)
    def run() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(persistent=True) as tape:
            batch = LossBatch(
                logits=tf.identity(logits),
                labels=tf.constant(rows["labels"]),
                weights=tf.constant(rows["weights"]),
                session=lambda _: tf.constant(rows["sessions"]),
                replicas=replicas,
            )
            found = losses([batch], True)
            targets = [share * value for value in found.values()]
        return tf.stack(list(found.values())), tf.stack([tape.gradient(t, logits) for t in targets])

    values, gradients = run()
    again, _ = run()
    np.testing.assert_array_equal(again, values)
    return values.numpy(), gradients.numpy()


def main() -> None:
    group = join_group()
    with np.load(sys.argv[1]) as file:
        columns = dict(file)
    total = len(columns["logits"])
    holders = [r for r in range(group.size) if r != 1] if group.size > 2 else [0, 1]
    ends = np.linspace(0, total, len(holders) + 1).astype(int)
    part = slice(0, 0)
    if group.rank in holders:
        place = holders.index(group.rank)
        part = slice(ends[place], ends[place + 1])
    share = tf.constant((part.stop - part.start) / total, tf.float32)
    replicas = Replicas(
        group.rank,
        group.size,
        group.concat,
        group.sum,
        lambda value, counts, name: group.exchange(value, counts, name)[0],
        share,
        tf.constant(float(total)),
    )
    values, gradients = values_and_gradients({k: v[part] for k, v in columns.items()}, replicas)
    np.savez(
        pathlib.Path(sys.argv[2]) / f"rank{group.rank}.npz",
        values=values,
        gradients=gradients,
        part=np.array([part.start, part.stop]),
    )
    group.close()


if __name__ == "__main__":
    main()
