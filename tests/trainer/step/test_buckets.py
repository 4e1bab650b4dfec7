"""The messages of a step with several buckets."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.exported import random_job
from small_job import SmallJob, write_data

from hvdrec.config import load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.assembly import build_step
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.step.buckets import choose_buckets, plan_buckets
from hvdrec.trainer.step.step import Rows


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**9), max_size=30), st.integers(1, 9))
def test_every_gradient_is_in_one_bucket(sizes: list[int], count: int) -> None:
    buckets = plan_buckets(sizes, count)
    assert 1 <= len(buckets) <= count
    # The last created first; a bucket's own are in the order of creation.
    assert [i for bucket in reversed(buckets) for i in bucket] == list(range(len(sizes)))
    assert all(buckets) or buckets == [[]]
    for bucket in buckets if count > 1 else ():
        own = [sizes[i] for i in bucket]
        # Only the halves of its first and its last gradient are beyond its share.
        assert sum(own) <= sum(sizes) / count + sum(own[:1] + own[-1:]) / 2 + 1


def test_buckets_have_similar_sizes() -> None:
    assert plan_buckets([40, 10, 30, 20, 15, 5], 3) == [[3, 4, 5], [1, 2], [0]]
    assert plan_buckets([100, 1, 1], 2) == [[1, 2], [0]]


@pytest.mark.parametrize(
    ("sizes", "wished", "one_host", "count"),
    [
        ([], 0, False, 1),
        ([3 << 20], 0, True, 1),
        ([3 << 20], 6, True, 6),
        ([1 << 20, (1 << 20) - 1], 0, False, 1),
        ([1 << 20] * 2, 0, False, 1),
        ([1 << 20] * 3, 0, False, 3),
        ([1 << 20] * 30, 0, False, 4),
    ],
)
def test_number_of_buckets(sizes: list[int], wished: int, one_host: bool, count: int) -> None:
    assert choose_buckets(sizes, wished, one_host) == count


class _Recorder(SingleReplica):
    """Two ranks in a graph, of which one can be seen: keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 2
        self.sent: dict[str, tf.Tensor] = {}
        self.received = set[tf.Operation]()

    def sum(self, value: tf.Tensor, name: str) -> tf.Tensor:
        assert name not in self.sent
        self.sent[name] = value
        received = value + 0.0
        self.received.add(received.op)
        return received

    def concat(self, value: tf.Tensor, name: str) -> tf.Tensor:
        return self.sum(value, name) if value.dtype == tf.float32 else value

    def gather_objects(self, value: Any) -> list[Any]:
        return [value, value]


def _before(op: tf.Operation) -> set[tf.Operation]:
    """The operation and those that it waits for."""
    found: set[tf.Operation] = set()
    waiting = [op]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [*(value.op for value in one.inputs), *one.control_inputs]
    return found


def _exchange(folder: pathlib.Path, extra: str) -> _Recorder:
    """The exchange of a step of a DeepFM with several layers, in a graph."""
    folder.mkdir(exist_ok=True)
    write_data(folder / "rows.csv", 20)
    small = SmallJob(folder / "rows.csv", folder / "run", batch_size=20, train_extra=extra)
    path = small.write(folder / "job.config")
    path.write_text(path.read_text().replace("hidden_units: [16, 8]", "hidden_units: [16, 16, 16, 16]"))
    config = load(str(path))
    job = random_job(config)
    with open_batches(config.proto, job.plan, SingleReplica(), True) as loader:
        batch = next(loader)
    group = job.group = _Recorder()
    step = build_step(job, batch)

    def exchange(call: Any) -> tf.Tensor:
        rows = Rows(tf.constant(0.5), tf.constant(40.0))
        return step.exchange(job.feed.unpack(call, tf.constant(0)), rows, tf.constant(0, tf.int64)).losses

    tf.function(exchange, autograph=False).get_concrete_function(job.feed.stack([batch]))
    return group


@pytest.mark.parametrize("impl", ["native", "tensorflow"])
def test_upper_layers_are_sent_before_lower_ones_are_known(
    impl: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With l2_regularization, whose gradient isn't of the backward pass."""
    monkeypatch.setenv("HVDREC_OPS", impl)
    group = _exchange(tmp_path, "allreduce_buckets: 3 sparse_reduce: GATHER")
    sent = group.sent
    names = ["gradients", "gradients/1", "gradients/2"]
    waits = [_before(sent[name].op) for name in names]
    kind = "HvdrecDenseLayerGrad" if impl == "native" else "MatMul"
    products = [sum(op.type == kind for op in before) for before in waits]
    assert products == sorted(products)
    assert products[0] < products[1] <= products[2]
    # Nothing waits for what the other ranks send.
    rows = [_before(value.op) for name, value in sent.items() if name.endswith("/values")]
    assert rows
    assert not any(before & group.received for before in [*rows, *waits])


def test_one_bucket_carries_everything(tmp_path: pathlib.Path) -> None:
    sent = _exchange(tmp_path, "allreduce_buckets: 1 sparse_reduce: DENSE").sent
    assert list(sent) == ["gradients"]


def test_tables_that_travel_dense_have_their_own_message(tmp_path: pathlib.Path) -> None:
    whole = _exchange(tmp_path / "one", "allreduce_buckets: 1 sparse_reduce: DENSE").sent
    sent = _exchange(tmp_path / "two", "allreduce_buckets: 2 sparse_reduce: DENSE").sent
    assert list(sent) == ["gradients", "gradients/1", "gradients/2"]
    assert sum(int(np.prod(v.shape)) for v in sent.values()) == whole["gradients"].shape[0]
