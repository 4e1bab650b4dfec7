"""What the kernels in use compute of fixed input: `python kinds_worker.py FILE.npz`, for test_kinds.py.

Arrays named `bits/...` are the same for every kind of processor, those named `close/...` come from products of
matrices, whose additions have another order and rounding.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from library import cases

import hvdrec
from hvdrec.config import load
from hvdrec.data import open_source
from hvdrec.features import Packer, build_plan
from hvdrec.ops.adam import AdamStep, Moments, apply_adam, apply_adam_rows
from hvdrec.ops.attention import attend, attention_product
from hvdrec.ops.deferred_adam import DeferredAdam
from hvdrec.ops.dense_layer import Norm, dense_layer
from hvdrec.ops.sum_of_squares import sum_of_squares

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1201

found: dict[str, np.ndarray] = {}


def keep(name: str, values: Any) -> None:
    for i, value in enumerate(values):
        found[f"{name}/{i}"] = np.asarray(value)


def losses() -> None:
    rows, lists = cases.pair_rows(ROWS), cases.list_rows(ROWS)
    some = cases.embedding_rows(ROWS, 40)
    for kind in (np.float32, np.float64):
        end = np.dtype(kind).name
        for number, case in enumerate(cases.PAIRS):
            for sessions in (None, rows["sessions"]):
                loss = getattr(hvdrec.numpy, case.function)(
                    *(rows["labels"], rows["scores"].astype(kind)),
                    **{"weights": rows["weights"], "sessions": sessions, **case.options},
                )
                keep(f"bits/{case.function}{number}/{end}/{sessions is None}", loss)
        for number, (function, options) in enumerate(cases.LISTS):
            labels, outputs = cases.list_inputs(function, lists)
            loss = getattr(hvdrec.numpy, function)(
                labels, outputs.astype(kind), sessions=lists["sessions"], **options
            )
            keep(f"bits/{function}{number}/{end}", loss)
        e = some["embeddings"].astype(kind)
        for number, (function, options, _) in enumerate(cases.EMBEDDINGS):
            loss = getattr(hvdrec.numpy, function)(some["labels"], e, **options)
            keep(f"close/{function}{number}/{end}", loss)
        for number, options in enumerate(cases.SOFTMAX):
            loss = hvdrec.numpy.in_batch_softmax(
                e, some["items"].astype(kind), **{"item_ids": some["item_ids"], **options}
            )
            keep(f"close/in_batch_softmax{number}/{end}", loss)


def optimizers() -> None:
    rng = np.random.default_rng(0)

    def moments() -> Moments:
        value = tf.Variable(rng.normal(size=(500, 16)).astype(np.float32))
        return Moments(value, tf.Variable(tf.zeros((500, 16))), tf.Variable(tf.zeros((500, 16))))

    dense, rowwise, later = moments(), moments(), moments()
    deferred = DeferredAdam(0.9, 0.999, 1e-8)
    deferred.add("table", later)
    deferred.make_room()
    for t in range(1, 9):
        powers = [tf.constant(beta**t, tf.float32) for beta in (0.9, 0.999)]
        step = AdamStep(*powers, tf.constant(0.01), 0.9, 0.999, 1e-8)
        rows = tf.constant(rng.permutation(500)[:60].astype(np.int32))
        gradient = tf.constant(rng.normal(size=(60, 16)).astype(np.float32))
        apply_adam(step, [dense], [tf.constant(rng.normal(size=(500, 16)).astype(np.float32))])
        apply_adam_rows(step, rowwise, rows, gradient)
        deferred.update(step, "table", rows, gradient)
        deferred.advance(step)
    deferred.settle()
    for name, each in (("adam", dense), ("adam_rows", rowwise), ("deferred_adam", later)):
        keep(f"bits/{name}", (part.numpy() for part in each))
    keep("bits/sum_of_squares", [sum_of_squares([dense.variable.value()]).numpy()])


def dense_layers() -> None:
    rng = np.random.default_rng(1)
    x, w = (tf.constant(rng.normal(size=s).astype(np.float32)) for s in [(1003, 70), (70, 150)])
    b, g, h = (tf.constant(rng.normal(size=150).astype(np.float32)) for _ in range(3))
    with tf.GradientTape() as tape:
        tape.watch([x, w, b, g, h])
        out = dense_layer(x, w, b, Norm(g, h, 1e-3), True)
        loss = tf.reduce_sum(tf.sin(out.y))
    keep("close/dense_layer", [v.numpy() for v in (*out, *tape.gradient(loss, [x, w, g, h]))])


def attention() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(0, 9, 50)
    sizes = [(50, 21), (lengths.sum(), 21), (84, 37), (lengths.sum(),)]
    inputs = [tf.constant(rng.normal(size=size).astype(np.float32)) for size in sizes]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        q, h, kernel, scores = inputs
        of_rows = tf.constant(lengths, tf.int32)
        out = [attention_product(q, h, of_rows, kernel, padded=True), *attend(scores, h, of_rows)]
        loss = tf.add_n([tf.reduce_sum(tf.sin(each)) for each in out])
    keep("close/attention", [v.numpy() for v in (*out, *tape.gradient(loss, inputs))])


def rows_of_a_file() -> None:
    proto = load(str(ROOT / "configs/deepfm_adult.config")).proto
    plan = build_plan(proto)
    proto.data_config.shuffle = False
    source = open_source(
        *(proto,),
        paths=[str(ROOT / "data/adult/test.csv")],
        fields=plan.fields,
        rank=0,
        size=1,
        training=True,
    )
    packer = Packer(plan)
    block = next(iter(source))
    for name, array in packer.pack(block.columns, block.locate)[1].items():
        found[f"bits/packed/{name}"] = np.asarray(array)


losses()
optimizers()
dense_layers()
attention()
rows_of_a_file()
np.savez(sys.argv[1], **found)
