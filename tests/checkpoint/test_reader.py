from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError


def save_raw(prefix: str, tensors: dict[str, np.ndarray]) -> None:
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=list(tensors.values())
    )


def test_variables_partitioned_by_tensorflow(tmp_path):
    """As EasyRec saves a table with `max_partitions`: slices of one name, slots too."""
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        table = tf1.get_variable(
            "input_layer/a_embedding/embedding_weights",
            [10, 4],
            partitioner=tf1.fixed_size_partitioner(3),
            use_resource=True,
        )
        whole = tf.convert_to_tensor(table)
        loss = tf.reduce_sum(tf.square(whole))
        update = tf1.train.AdamOptimizer(0.1).minimize(loss)
        session.run(tf1.global_variables_initializer())
        session.run(update)
        wanted = session.run(whole)
        prefix = tf1.train.Saver(sharded=True).save(session, str(tmp_path / "model.ckpt-1"))
    variable, slot = tf.Variable(tf.zeros([10, 4])), tf.Variable(tf.zeros([10, 4]))
    name = "input_layer/a_embedding/embedding_weights"
    store = Store(str(tmp_path))
    assert store.latest() == prefix
    store.restore(prefix, [SavedTensor(name, variable, None), SavedTensor(f"{name}/Adam", slot, None)])
    np.testing.assert_array_equal(variable.numpy(), wanted)
    assert np.all(slot.numpy() != 0.0)


def test_parts_under_names_of_their_own(tmp_path):
    rows = np.arange(88, dtype=np.float32).reshape(22, 4)
    parts = np.array_split(rows, 11)
    tensors = {f"t/embedding_weights/part_{i}": p for i, p in enumerate(parts)}
    tensors |= {f"t/embedding_weights/part_{i}/Adam": -p for i, p in enumerate(parts)}
    prefix = str(tmp_path / "model.ckpt-1")
    save_raw(prefix, tensors)
    reader = Reader(prefix)
    assert reader.shapes == {"t/embedding_weights": (22, 4), "t/embedding_weights/Adam": (22, 4)}
    np.testing.assert_array_equal(reader.read(["t/embedding_weights"])[0], rows)  # part_10 after part_9
    np.testing.assert_array_equal(reader.read(["t/embedding_weights/Adam"])[0], -rows)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"t/part_0": np.zeros([2, 3]), "t/part_2": np.zeros([2, 3])}, "some of them are missing"),
        ({"t/part_0": np.zeros([2, 3]), "t/part_1": np.zeros([2, 4])}, "can't be joined along the rows"),
    ],
)
def test_parts_that_make_no_whole(tmp_path, tensors, message):
    save_raw(str(tmp_path / "c"), tensors)
    with pytest.raises(CheckpointError, match=message):
        Reader(str(tmp_path / "c"))


@pytest.mark.parametrize("model", ["deepfm_adult", "wide_and_deep_adult", "multi_tower_two_losses_adult"])
def test_golden_checkpoints_restore(shared, model):
    """Every variable of EasyRec's checkpoint, all tables of a width in one bank."""
    folder = str(shared / "golden" / model)
    store = Store(folder)
    assert store.steps() == [0, 120]
    prefix = store.latest()
    assert prefix == f"{folder}/model.ckpt-120"
    assert store.extra(prefix) == {}
    reader = tf.train.load_checkpoint(prefix)
    shapes = dict(tf.train.list_variables(prefix))
    tables: dict[tuple[str, int], list[str]] = {}
    entries = []
    for name, shape in shapes.items():
        weights, _, slot = name.partition("/embedding_weights")
        if weights != name:
            tables.setdefault((slot, shape[1]), []).append(name)
        else:
            dtype = reader.get_variable_to_dtype_map()[name]
            entries.append(SavedTensor(name, tf.Variable(tf.zeros(shape, dtype)), None))
    for (_, width), names in tables.items():
        bank = tf.Variable(tf.zeros([sum(shapes[n][0] for n in names), width]))
        first = 0
        for name in names:
            entries.append(SavedTensor(name, bank, (first, first + shapes[name][0])))
            first += shapes[name][0]
    report = store.restore(prefix, entries)
    assert set(report.restored) == set(shapes)
    assert report.unused == ()
    for entry in entries:
        value = entry.variable.numpy()
        part = value if entry.rows is None else value[entry.rows[0] : entry.rows[1]]
        np.testing.assert_array_equal(part, reader.get_tensor(entry.name))
    assert next(e for e in entries if e.name == "global_step").variable.numpy() == 120
