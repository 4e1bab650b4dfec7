from __future__ import annotations

import json
import logging
import os

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.commit import MarkerCommit
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.snapshot import Snapshot
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError


def save(store: Store, state, *steps: int) -> None:
    for step in steps:
        state.fill(step)
        store.save(step, state.entries, {"row": step * 10})


def test_a_snapshot_of_a_table_is_no_copy() -> None:
    """TensorFlow copies a variable that is read after rows of it were looked up."""
    variable = tf.Variable(np.ones((1000, 16), np.float32))
    tf.gather(variable, [1])

    def address(value: tf.Tensor) -> int:
        return np.frombuffer(memoryview(value), np.uint8).ctypes.data

    taken = Snapshot([SavedTensor("table", variable, (0, 1000))])
    assert address(taken._whole[id(variable)]) == address(variable.read_value_no_copy())


def test_a_round_trip_gives_every_bit(tmp_path, state, other):
    store = Store(str(tmp_path / "model"))
    prefix = store.save(7, state.entries, {})
    report = store.restore(prefix, other.entries)
    assert set(report.restored) == {e.name for e in state.entries}
    for name, value in state.values().items():
        np.testing.assert_array_equal(other.values()[name], value)
        assert other.values()[name].dtype == value.dtype


def test_tensorflow_sees_easyrec_s_names(tmp_path, state):
    prefix = Store(str(tmp_path)).save(7, state.entries, {})
    assert prefix == str(tmp_path / "model.ckpt-7")
    assert tf.train.latest_checkpoint(str(tmp_path)) == prefix
    reader = tf.train.load_checkpoint(str(tmp_path))
    values = state.values()
    assert dict(tf.train.list_variables(prefix)) == {n: list(v.shape) for n, v in values.items()}
    for name, value in values.items():
        np.testing.assert_array_equal(reader.get_tensor(name), value)
    assert reader.get_variable_to_dtype_map()["global_step"] == tf.int64


def test_a_tf1_saver_restores_it(tmp_path, state):
    prefix = Store(str(tmp_path)).save(7, state.entries, {})
    name = "input_layer/city_embedding/embedding_weights"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable(name, [20, 4])
        step = tf.compat.v1.train.create_global_step()
        tf.compat.v1.train.Saver([variable, step]).restore(session, prefix)
        restored, at = session.run([variable, step])
    np.testing.assert_array_equal(restored, state.values()[name])
    assert at == 1


def test_a_saver_of_tf1_takes_over_the_state_file(tmp_path, state):
    store = Store(str(tmp_path), keep_max=3)
    save(store, state, 1, 2, 3, 4)
    found = tf.train.get_checkpoint_state(str(tmp_path))
    assert list(found.all_model_checkpoint_paths) == [str(tmp_path / f"model.ckpt-{s}") for s in (2, 3, 4)]
    text = (tmp_path / "checkpoint").read_text()
    assert str(tmp_path) not in text


def test_extra_comes_back(tmp_path, state):
    store = Store(str(tmp_path))
    extra = {"epoch": 2, "row": np.int64(5), "random": np.arange(3), "ranks": {"size": 2}, "rate": 0.1}
    prefix = store.save(7, state.entries, extra)
    assert store.extra(prefix) == {**extra, "row": 5, "random": [0, 1, 2]}


def test_nothing_is_there_before_the_first_save(tmp_path):
    store = Store(str(tmp_path / "none"))
    assert store.steps() == []
    assert store.latest() is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(("keep", "kept"), [(0, [0, 3, 10, 20, 100]), (1, [100]), (3, [10, 20, 100])])
def test_rotation_keeps_the_newest(tmp_path, state, keep, kept):
    store = Store(str(tmp_path), keep)
    save(store, state, 0, 3, 10, 20, 100)
    assert store.steps() == kept
    assert store.latest() == str(tmp_path / "model.ckpt-100")
    suffixes = (".data-00000-of-00001", ".index", ".manifest.json")
    files = {f"model.ckpt-{s}{x}" for s in kept for x in suffixes}
    assert set(os.listdir(tmp_path)) == {*files, "checkpoint"}


def test_rotation_leaves_other_files(tmp_path, state):
    names = ["pipeline.config", "model.ckpt-backup.index", "events.out.tfevents.1", "my_model.ckpt-3.index"]
    for name in names:
        (tmp_path / name).write_text("mine")
    save(Store(str(tmp_path), 1), state, 1, 2, 3)
    assert set(names) <= set(os.listdir(tmp_path))


def test_saving_a_step_again_changes_only_what_is_kept_with_it(tmp_path, state):
    store = Store(str(tmp_path))
    store.save(7, state.entries, {"row": 1})
    before = (tmp_path / "model.ckpt-7.data-00000-of-00001").stat().st_ino
    prefix = store.save(7, state.entries, {"row": 2})
    assert store.extra(prefix) == {"row": 2}
    assert (tmp_path / "model.ckpt-7.data-00000-of-00001").stat().st_ino == before


def test_saving_a_step_again_with_other_values_replaces_it(tmp_path, state, other):
    store = Store(str(tmp_path))
    store.save(7, state.entries, {"row": 1})
    state.fill(9)
    prefix = store.save(7, state.entries, {"row": 2})
    assert Store(str(tmp_path)).latest() == prefix
    store.restore(prefix, other.entries)
    assert other.holds(9)
    assert [n for n in os.listdir(tmp_path) if n.startswith(".")] == []


def test_a_snapshot_is_not_reached_by_later_updates(state):
    """What a save in the background would write."""
    wanted = state.values()
    taken = Snapshot(state.entries)
    bank = state.entries[0].variable

    @tf.function(autograph=False)
    def train() -> None:
        bank.scatter_add(tf.IndexedSlices(tf.ones([2, 4]), [1, 12]))
        tf.raw_ops.ResourceApplyGradientDescent(var=bank.handle, alpha=1.0, delta=tf.ones([30, 4]))

    train()
    state.fill(99)
    for name, value in wanted.items():
        np.testing.assert_array_equal(taken[name], value)


def damage_truncate(path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 9)


def damage_flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def damage_remove(path) -> None:
    path.unlink()


def damage_nest(path) -> None:
    path.write_text("[" * 200_000)  # deeper than a reader of JSON goes


DAMAGES = [damage_nest, damage_truncate, damage_flip, damage_remove]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [".data-00000-of-00001", ".index", ".manifest.json"])
def test_latest_walks_back_past_damage(tmp_path, state, other, caplog, damage, suffix):
    store = Store(str(tmp_path))
    save(store, state, 10, 20)
    damage(tmp_path / f"model.ckpt-20{suffix}")
    with caplog.at_level(logging.WARNING):
        latest = Store(str(tmp_path)).latest()
        restored = Store(str(tmp_path)).restore_newest(lambda prefix: other.entries)
    assert restored.prefix == latest
    if damage is damage_remove and suffix == ".manifest.json":
        assert latest == str(tmp_path / "model.ckpt-20")  # then it is one like EasyRec's
        return
    assert latest == str(tmp_path / "model.ckpt-10")
    if not (damage is damage_remove and suffix == ".index"):
        assert caplog.text.count("model.ckpt-20 is damaged") == 2
    assert other.holds(10)
    assert store.latest() == latest  # what a store has seen whole isn't believed for ever


def test_no_byte_of_a_checkpoint_is_restored_that_was_not_saved(tmp_path, state, other):
    """Resuming reads each file once: it checks what it doesn't compare with the manifest in another way."""
    save(Store(str(tmp_path)), state, 10, 20)
    for suffix in (".data-00000-of-00001", ".index"):
        path = tmp_path / f"model.ckpt-20{suffix}"
        whole = path.read_bytes()
        for at in range(0, len(whole), 41):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
            restored = Store(str(tmp_path)).restore_newest(lambda prefix: other.entries)
            assert restored.prefix == str(tmp_path / "model.ckpt-10")
            assert other.holds(10)
        path.write_bytes(whole)
    assert Store(str(tmp_path)).restore_newest(lambda prefix: other.entries).prefix.endswith("-20")
    assert other.holds(20)


def test_a_model_that_does_not_fit_is_no_damage(tmp_path, state):
    """An older checkpoint isn't tried: it wouldn't fit either, and training would go back."""
    save(Store(str(tmp_path)), state, 10, 20)
    strange = [*state.entries, SavedTensor("deep/dnn_1/kernel", tf.Variable(0.0), None)]
    with pytest.raises(CheckpointError, match=r"model\.ckpt-20: doesn't belong to this model"):
        Store(str(tmp_path)).restore_newest(lambda prefix: strange)
    assert Store(str(tmp_path / "empty")).restore_newest(lambda prefix: strange) is None


def test_another_input_position_in_the_manifest_is_damage(tmp_path, state):
    save(Store(str(tmp_path)), state, 10, 20)
    path = tmp_path / "model.ckpt-20.manifest.json"
    path.write_text(path.read_text().replace('"row": 200', '"row": 201'))
    assert Store(str(tmp_path)).latest() == str(tmp_path / "model.ckpt-10")


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip])
def test_damage_shows_without_a_manifest(tmp_path, state, damage):
    save(Store(str(tmp_path)), state, 10, 20)
    for step in (10, 20):
        (tmp_path / f"model.ckpt-{step}.manifest.json").unlink()
    damage(tmp_path / "model.ckpt-20.data-00000-of-00001")
    assert Store(str(tmp_path)).latest() == str(tmp_path / "model.ckpt-10")


def test_when_all_are_damaged_training_does_not_begin_anew(tmp_path, state):
    save(Store(str(tmp_path)), state, 10, 20)
    for step in (10, 20):
        damage_flip(tmp_path / f"model.ckpt-{step}.data-00000-of-00001")
    with pytest.raises(CheckpointError, match=r"every checkpoint is damaged: model.ckpt-20: .*ckpt-10: "):
        Store(str(tmp_path)).latest()


def test_a_damaged_step_is_saved_over(tmp_path, state, other):
    store = Store(str(tmp_path))
    save(store, state, 10, 20)
    damage_flip(tmp_path / "model.ckpt-20.data-00000-of-00001")
    save(store, state, 20)
    store.restore(Store(str(tmp_path)).latest(), other.entries)
    assert other.holds(20)


def test_a_saved_step_before_a_damaged_one_is_kept(tmp_path, state):
    store = Store(str(tmp_path), 1)
    save(store, state, 20)
    damage_flip(tmp_path / "model.ckpt-20.data-00000-of-00001")
    save(store, state, 15)
    assert Store(str(tmp_path)).latest() == str(tmp_path / "model.ckpt-15")
    save(store, state, 30)
    assert store.steps() == [30]


def test_missing_variables_are_named_with_the_nearest(tmp_path, state):
    store = Store(str(tmp_path))
    prefix = store.save(1, state.entries, {})
    bank = state.entries[0].variable
    wrong = [
        SavedTensor("deep/dnn_0/kernal", bank, None),
        SavedTensor("deep/dnn_0/kernel", bank, None),
        SavedTensor("global_step", tf.Variable(0), None),
    ]
    before = bank.numpy()
    with pytest.raises(CheckpointError) as caught:
        store.restore(prefix, [*state.entries[:2], *wrong])
    text = str(caught.value)
    assert "\n" not in text
    assert "deep/dnn_0/kernal (nearest: deep/dnn_0/kernel)" in text
    assert "deep/dnn_0/kernel (shape [3, 2] in the checkpoint, [30, 4] in the model)" in text
    assert "global_step (int64 in the checkpoint, int32 in the model)" in text
    np.testing.assert_array_equal(bank.numpy(), before)


def test_rows_that_no_entry_names_keep_their_values(tmp_path, state):
    store = Store(str(tmp_path))
    prefix = store.save(1, state.entries, {})
    wanted = state.values()[state.entries[1].name]
    bank = state.entries[0].variable
    bank.assign(tf.fill(bank.shape, 5.0))
    store.restore(prefix, [state.entries[1]])
    np.testing.assert_array_equal(bank.numpy()[:10], np.full([10, 4], 5.0))
    np.testing.assert_array_equal(bank.numpy()[10:], wanted)


def test_a_broken_prefix_is_one_line(tmp_path, state):
    with pytest.raises(CheckpointError, match=r"model.ckpt-5: can't be opened"):
        Store(str(tmp_path)).restore(str(tmp_path / "model.ckpt-5"), state.entries)


def test_a_directory_that_is_a_file(tmp_path, state):
    (tmp_path / "model").write_text("")
    with pytest.raises(CheckpointError, match=r"can't save .*model.ckpt-1: .*check that the disk"):
        Store(str(tmp_path / "model")).save(1, state.entries, {})
    with pytest.raises(CheckpointError, match="can't be listed"):
        Store(str(tmp_path / "model")).latest()


def test_no_space_leaves_what_is_there(tmp_path, state, other, monkeypatch):
    store = Store(str(tmp_path))
    save(store, state, 10)
    before = sorted(os.listdir(tmp_path))

    def full(**arguments: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, f"{arguments['prefix']}; No space left on device")

    monkeypatch.setattr(tf.raw_ops, "SaveV2", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*are unchanged"):
        save(store, state, 20)
    assert sorted(os.listdir(tmp_path)) == before
    store.restore(store.latest(), other.entries)
    assert other.holds(10)


def test_a_store_without_renames(tmp_path, state, other, monkeypatch):
    """As an object store behind a mount: the marker commits."""

    def refuse(*_: object) -> None:
        raise OSError("no renames and links here")

    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, refuse)
    store = Store(str(tmp_path), 2, MarkerCommit())
    save(store, state, 10, 20, 20, 30)
    assert store.steps() == [20, 30]
    assert (tmp_path / "model.ckpt-30.committed").exists()
    assert len(os.listdir(tmp_path)) == 2 * 4 + 1
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-30")
    (tmp_path / "model.ckpt-30.committed").unlink()
    latest = Store(str(tmp_path)).latest()  # readers know from the manifest
    assert latest == str(tmp_path / "model.ckpt-20")
    store.restore(latest, other.entries)
    assert other.holds(20)


def test_the_manifest_lists_its_files(tmp_path, state):
    prefix = Store(str(tmp_path)).save(7, state.entries, {"epoch": 1})
    body = json.loads((tmp_path / "model.ckpt-7.manifest.json").read_text())
    assert body["step"] == 7
    assert body["extra"] == {"epoch": 1}
    assert set(body["files"]) == {"model.ckpt-7.data-00000-of-00001", "model.ckpt-7.index"}
    for name, described in body["files"].items():
        assert described["bytes"] == os.path.getsize(os.path.join(os.path.dirname(prefix), name))
