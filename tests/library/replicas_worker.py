"""Runs on every rank: the library's losses over the rows of all ranks, called as ``replicas_worker.py folder``.

Every rank writes ``rank<r>.npz``: losses, and gradients averaged over the ranks as Horovod's optimizers do.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import numpy as np
import tensorflow as tf
from library.cases import embedding_rows, list_rows, pair_rows

import hvdrec

ROWS = 9_000


def losses(part: slice, w: tf.Variable, e: tf.Variable, **options: Any) -> dict[str, tf.Tensor]:
    """Losses of some of the rows; each depends on the weights, all one, that rows are multiplied by."""
    rows, batch = pair_rows(ROWS), embedding_rows(90)
    few = slice(part.start // 100, part.stop // 100)
    small = {key: value[few] for key, value in rows.items()}
    lists = {key: value[few] for key, value in list_rows(90).items()}
    embeddings = batch["embeddings"][few] * e
    items = batch["items"][few] * e
    return {
        # Sums of cells travel, then rows.
        "cells": hvdrec.losses.pairwise_logistic(rows["labels"][part], rows["scores"][part] * w, **options),
        "rows": hvdrec.losses.pairwise_hinge(
            *(small["labels"], small["scores"] * w),
            weights=small["weights"],
            sessions=small["sessions"],
            **options,
        ),
        "again": hvdrec.losses.pairwise_hinge(small["labels"], small["scores"] * w, **options),
        "circle": hvdrec.losses.circle(
            batch["labels"][few], embeddings, sessions=batch["sessions"][few], **options
        ),
        "multi_similarity": hvdrec.losses.multi_similarity(batch["labels"][few], embeddings, **options),
        "softmax": hvdrec.losses.in_batch_softmax(
            *(embeddings, items),
            item_ids=batch["item_ids"][few],
            weights=batch["weights"][few],
            temperature=3.0,
            **options,
        ),
        "jrc": hvdrec.losses.jrc(
            lists["clicks"],
            lists["logits"] * w,
            weights=lists["weights"],
            sessions=lists["sessions"],
            **options,
        ),
        "listwise_rank": hvdrec.losses.listwise_rank(
            lists["labels"], lists["scores"] * w, sessions=lists["sessions"], **options
        ),
        "listwise_distill": hvdrec.losses.listwise_distill(lists["labels"], lists["scores"] * w, **options),
        "plain_softmax": hvdrec.losses.in_batch_softmax(embeddings, items, normalize=True, **options),
    }


def values_and_gradients(part: slice, **options: Any) -> tuple[np.ndarray, list[list[Any]]]:
    """The losses and their gradients by both weights."""
    w, e = tf.Variable(1.0), tf.Variable(np.ones(8, np.float32))

    @tf.function(autograph=False)
    def run() -> tuple[tf.Tensor, list[list[Any]]]:
        with tf.GradientTape(persistent=True) as tape:
            found = list(losses(part, w, e, **options).values())
        return tf.stack(found), [
            tape.gradient(value, [w, e], unconnected_gradients="zero") for value in found
        ]

    values, gradients = run()
    return values.numpy(), gradients


def main() -> None:
    import horovod.tensorflow as hvd

    hvd.init()
    # Ranks of different numbers of rows.
    part = slice(0, 3_000) if hvd.rank() == 0 else slice(3_000, ROWS)
    values, gradients = values_and_gradients(part, cross_replica=True)
    mean = [[hvd.allreduce(tf.convert_to_tensor(g)).numpy() for g in pair] for pair in gradients]
    np.savez(
        pathlib.Path(sys.argv[1]) / f"rank{hvd.rank()}.npz",
        values=values,
        w=np.array([pair[0] for pair in mean]),
        e=np.array([pair[1] for pair in mean]),
    )
    hvd.shutdown()


if __name__ == "__main__":
    main()
