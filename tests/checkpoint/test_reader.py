from __future__ import annotations

import struct

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.index import read_index
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError, DamagedError
from hvdrec.ops.native import load_native


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


@pytest.mark.parametrize(
    ("dtype", "sizes"), [(0, (2, 3)), (999, (2, 3)), (1, (2, -3)), (1, (2**40, 2**40)), (1, (2**62, 4))]
)
def test_an_index_of_what_no_variable_can_be(tmp_path, dtype, sizes):
    """Rewritten with right checksums."""
    save_raw(str(tmp_path / "c"), {"t": np.zeros([2, 3], np.float32)})
    path = tmp_path / "c.index"
    data = path.read_bytes()
    entries, _ = read_index(path)
    old, entry = entries["t"].SerializeToString(), entries["t"]
    start = data.index(old)
    entry.dtype = dtype
    for dimension, size in zip(entry.shape.dim, sizes, strict=True):
        dimension.size = size
    path.write_bytes(_with_block(data, start, len(old), entry.SerializeToString()))
    assert set(read_index(path)[0]) == {"t"}
    with pytest.raises(DamagedError, match=r"c\.index: t has a shape or type that no variable has"):
        Reader(str(tmp_path / "c"))


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _with_block(data: bytes, start: int, size: int, new: bytes) -> bytes:
    """An index with another value of its second record, which is the last of its only data block."""
    # Before the value of a record are three lengths of a byte each, and the key "t".
    block = data[: start - 2] + _varint(len(new)) + b"t" + new + data[start + size : start + size + 8]
    assert data[start - 2] == size
    block += b"\0"
    body = block + struct.pack("<I", load_native().masked_crc32c(block))
    handle = _varint(0) + _varint(len(block) - 1)
    key = b"u"
    table = b"\0" + _varint(len(key)) + _varint(len(handle)) + key + handle + struct.pack("<II", 0, 1)
    empty = struct.pack("<II", 0, 1)
    places = []
    for part in (empty, table):
        places.append((len(body), len(part)))
        body += part + b"\0" + struct.pack("<I", load_native().masked_crc32c(part + b"\0"))
    footer = b"".join(_varint(start) + _varint(size) for start, size in places)
    return body + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


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
