"""Batches come out of the graph as they went in."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.data.batch import PackedBatch
from hvdrec.features.layout import ROWS
from hvdrec.features.packer_spec import FeatureSpec, PackerSpec, SequenceSpec
from hvdrec.features.plan import Bank, FeaturePlan, NestedSlot
from hvdrec.trainer.step.feed import Feed, FeedCall, call_spec


def _plan() -> FeaturePlan:
    return FeaturePlan(
        fields=(),
        banks=(Bank(4, 100, (), 3, ("sum", "mean"), (0,), (NestedSlot(1, "sum"),)), Bank(1, 50, (), 2)),
        groups={},
        dense_dim=2,
        labels=("clk", "vec"),
        label_dims=(1, 3),
        has_sample_weight=True,
        ids=("uid",),
        packer=PackerSpec(
            number_sequences=(FeatureSpec("number_sequence"),),
            sequences=(SequenceSpec(0, False), SequenceSpec(1, False), SequenceSpec(0, True)),
        ),
    )


def _batch(feed: Feed, rows: int, rng: np.random.Generator) -> PackedBatch:
    arrays = {}
    for spec in feed.specs:
        length = rows if spec.row_set == ROWS else int(rng.integers(0, 40))
        shape = (length, spec.width) if spec.width else (length,)
        arrays[spec.name] = rng.integers(-1000, 1000, shape).astype(spec.dtype)
    return PackedBatch(rows, arrays)


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_round_trip(sizes: list[int], seed: int) -> None:
    feed = Feed(_plan())
    rng = np.random.default_rng(seed)
    batches = [_batch(feed, n, rng) for n in sizes]

    @tf.function(input_signature=[call_spec(feed.specs), tf.TensorSpec([], tf.int32)], autograph=False)
    def unpack(call: FeedCall, k: tf.Tensor) -> dict[str, tf.Tensor]:
        return feed.unpack(call, k)

    call = feed.stack(batches)
    np.testing.assert_array_equal(call.rows, sizes)
    for k, batch in enumerate(batches):
        found = unpack(call, tf.constant(k))
        assert set(found) == set(batch.arrays)
        for name, array in batch.arrays.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_an_empty_batch_has_every_array() -> None:
    feed = Feed(_plan())
    empty = feed.empty()
    assert empty.rows == 0
    assert set(empty.arrays) == {s.name for s in feed.specs}
    assert all(a.shape[0] == 0 for a in empty.arrays.values())
