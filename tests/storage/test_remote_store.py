"""Checkpoints in a store: complete and committed, or missing."""

import json
import logging
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from checkpoint.conftest import make_state

from hvdrec import storage
from hvdrec.checkpoint import manifest
from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.checkpoint.remote import RemoteStore, fetch
from hvdrec.checkpoint.remote_lock import RemoteLock
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError, StoreGoneError
from hvdrec.storage.mirror import Mirror


@pytest.fixture
def state():
    return make_state()


def save(store, state, *steps, extra=None):
    for step in steps:
        state.fill(step)
        store.save(step, state.entries, extra or {"row": step})


def names(url):
    return set(storage.listing(url))


def test_a_save_is_in_the_store_and_restores_elsewhere(store, tmp_path, state):
    written = RemoteStore(store, str(tmp_path / "a"))
    assert written.latest() is None
    state.fill(5)
    assert written.save(5, state.entries, {"row": 7}) == f"{store}/model.ckpt-5"
    assert names(store) == {
        "checkpoint",
        *(f"model.ckpt-5.{s}" for s in ("index", "data-00000-of-00001", "manifest.json", "committed")),
    }
    other = RemoteStore(store, str(tmp_path / "b"))
    prefix = other.latest()
    assert other.shown(prefix) == f"{store}/model.ckpt-5"
    state.fill(6)
    other.restore(prefix, state.entries)
    assert state.holds(5)
    assert other.extra(prefix) == {"row": 7}
    # The store contains a checkpoint of the same form as local folders.
    assert Store(str(tmp_path / "b")).latest() == prefix


def test_the_marker_comes_last(shaky, proxy, tmp_path, state):
    save(RemoteStore(shaky, str(tmp_path)), state, 3)
    puts = [r.split()[1].split("?")[0].rpartition("/")[2] for r in proxy.requests if r.startswith("PUT")]
    assert puts == [
        "model.ckpt-3.manifest.json",
        "model.ckpt-3.data-00000-of-00001",
        "model.ckpt-3.index",
        "model.ckpt-3.committed",
        "checkpoint",
    ]


def test_old_ones_are_rotated_and_the_state_file_follows(store, tmp_path, state):
    save(RemoteStore(store, str(tmp_path / "a"), keep_max=2), state, 1, 2, 3)
    resumed = RemoteStore(store, str(tmp_path / "b"), keep_max=2)
    assert resumed.steps() == [2, 3]
    save(resumed, state, 4)
    assert resumed.steps() == [3, 4]
    assert not any("ckpt-2." in name or "ckpt-1." in name for name in names(store))
    text = storage.read_text(f"{store}/checkpoint")
    assert text.splitlines()[0] == 'model_checkpoint_path: "model.ckpt-4"'
    assert text.count("model.ckpt-3") == 1
    # One stays here.
    assert [p.name for p in (tmp_path / "b").glob("*.index")] == ["model.ckpt-4.index"]


@pytest.mark.parametrize("stopped_at", range(1, 5))
def test_what_is_not_committed_does_not_count(shaky, proxy, tmp_path, state, monkeypatch, stopped_at):
    save(RemoteStore(shaky, str(tmp_path / "a")), state, 1)
    monkeypatch.setenv("HVDREC_STORE_PATIENCE", "0")
    proxy.fail("reset", times=None, method="PUT", skip=stopped_at - 1)
    store = RemoteStore(shaky, str(tmp_path / "a"))
    with pytest.raises(StoreGoneError, match=rf"model.ckpt-2 is complete in {tmp_path}/a; continue from it"):
        save(store, state, 2)
    proxy.heal()
    resumed = RemoteStore(shaky, str(tmp_path / "b"))
    resumed.restore(resumed.latest(), state.entries)
    assert state.holds(1)
    # The copy that is kept is a whole model_dir.
    kept = Store(str(tmp_path / "a"))
    kept.restore(kept.latest(), state.entries)
    assert state.holds(2)
    save(resumed, state, 2, 3)
    assert resumed.steps() == [1, 2, 3]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damage_is_noticed_and_an_older_one_taken(store, tmp_path, state, caplog, damage):
    save(RemoteStore(store, str(tmp_path / "a")), state, 1, 2)
    path = f"{store}/model.ckpt-2.data-00000-of-00001"
    local = tmp_path / "data"
    storage.download(path, local)
    content = bytearray(local.read_bytes())
    if damage == "missing":
        storage.remove(path)
    else:
        content[100] ^= 1
        local.write_bytes(content if damage == "flipped" else content[:-1])
        storage.upload(local, path)
    resumed = RemoteStore(store, str(tmp_path / "b"))
    with caplog.at_level(logging.WARNING, logger="hvdrec"):
        resumed.restore(resumed.latest(), state.entries)
    assert state.holds(1)
    assert f"{store}/model.ckpt-2 is damaged (model.ckpt-2.data-00000-of-00001" in caplog.text
    storage.remove(f"{store}/model.ckpt-1.data-00000-of-00001")
    with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
        RemoteStore(store, str(tmp_path / "c")).latest()


def test_the_same_step_again(store, tmp_path, state):
    first = RemoteStore(store, str(tmp_path / "a"))
    save(first, state, 4, extra={"row": 1})
    resumed = RemoteStore(store, str(tmp_path / "b"))
    save(resumed, state, 4, extra={"row": 2})
    other = RemoteStore(store, str(tmp_path / "c"))
    assert other.extra(other.latest()) == {"row": 2}
    state.fill(9)
    other.save(4, state.entries, {})
    last = RemoteStore(store, str(tmp_path / "d"))
    last.restore(last.latest(), state.entries)
    assert state.holds(9)


def test_two_manifests_count_while_one_replaces_the_other(store, tmp_path, state):
    first = RemoteStore(store, str(tmp_path / "a"))
    save(first, state, 4)
    marker = storage.read_text(f"{store}/model.ckpt-4.committed")
    storage.write_text(f"{store}/model.ckpt-4.committed", f"{'0' * 64}\n{marker}")
    other = RemoteStore(store, str(tmp_path / "b"))
    assert other.latest() is not None
    storage.write_text(f"{store}/model.ckpt-4.committed", f"{'0' * 64}\n")
    with pytest.raises(CheckpointError, match="its commit marker is missing"):
        RemoteStore(store, str(tmp_path / "c")).latest()


def test_a_checkpoint_without_a_manifest_is_easyrecs(store, tmp_path, state):
    state.fill(8)
    prefix = str(tmp_path / "model.ckpt-8")
    values = state.values()
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(v) for v in values.values()],
    )
    for path in tmp_path.glob("model.ckpt-8*"):
        storage.upload(path, f"{store}/{path.name}")
    found = RemoteStore(store, str(tmp_path / "b"))
    state.fill(1)
    found.restore(found.latest(), state.entries)
    assert state.holds(8)


def test_best_checkpoints_are_kept_beside(store, tmp_path, state):
    run = RemoteStore(store, str(tmp_path / "a"), keep_max=1)
    save(run, state, 1)
    best = run.beside("best_ckpt", 1)
    assert best.adopt(run, 1) == f"{store}/best_ckpt/model.ckpt-1"
    best.replace_text("best.json", "{}\n")
    save(run, state, 2)
    assert run.steps() == [2]
    other = RemoteStore(f"{store}/best_ckpt", str(tmp_path / "b"))
    other.restore(other.latest(), state.entries)
    assert state.holds(1)
    assert storage.read_text(f"{store}/best_ckpt/best.json") == "{}\n"


def test_fine_tuning_from_a_store(store, tmp_path, state):
    save(RemoteStore(store, str(tmp_path / "a")), state, 1, 2)
    storage.write_text(f"{store}/map", "deep/dnn_0/kernel deep/dnn_0/kernel\n")
    for file, seed in (("/model.ckpt-1", 1), ("/model.ckpt-1.index", 1), ("/model.ckpt-1.meta", 1), ("", 2)):
        path = store + file
        wanted = make_state()
        wanted.fill(seed)
        state.fill(9)
        report = fine_tune(path, state.entries, f"{store}/map")
        assert report.prefix.startswith(path)
        np.testing.assert_array_equal(
            state.values()["deep/dnn_0/kernel"], wanted.values()["deep/dnn_0/kernel"]
        )
    with pytest.raises(CheckpointError, match=rf"{store}/model.ckpt-7: is gone"):
        fetch(f"{store}/model.ckpt-7", tmp_path / "x")
    with pytest.raises(CheckpointError, match=rf"{store}/no: there is no checkpoint"):
        fetch(f"{store}/no", tmp_path / "x")


def test_a_run_that_lost_its_lock_writes_nothing(store, tmp_path, state):
    lock = RemoteLock(store, beat_seconds=0.1)
    lock.acquire()
    run = RemoteStore(store, str(tmp_path), check=lock.check)
    save(run, state, 1)
    for _ in range(200):
        # Again: a beat that had looked just before writes over it.
        storage.write_text(f"{store}/.lock", json.dumps({"host": "other", "process": 1, "run": "another"}))
        time.sleep(0.05)
        if lock._lost:
            break
    with pytest.raises(CheckpointError, match=r"is in use by process 1 on other .* it took over"):
        save(run, state, 2)
    assert run.steps() == [1]
    lock.release()
    assert json.loads(storage.read_text(f"{store}/.lock"))["run"] == "another"


def test_a_mirror_sends_what_has_changed(store, tmp_path):
    folder = tmp_path / "run"
    for name in ("a", "export/1/saved_model.pb", "export/1/variables/x", ".hidden", "left/out"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    mirror = Mirror(folder, store, lambda n: not n.startswith("left/"), ("saved_model.pb",))
    mirror.push("export/")
    assert set(storage.listing(store, recursive=True)) == {"export/1/saved_model.pb", "export/1/variables/x"}
    mirror.push()
    storage.write_text(f"{store}/a", "changed there")
    mirror.push()
    assert storage.read_text(f"{store}/a") == "changed there"
    (folder / "a").write_text("changed here, and longer")
    for path in (folder / "export/1").rglob("*"):
        if path.is_file():
            path.unlink()
    mirror.push()
    assert storage.listing(store, recursive=True) == {"a": len("changed here, and longer")}
    other = Mirror(tmp_path / "other", store, lambda n: True)
    other.pull(lambda n: True)
    assert (tmp_path / "other/a").read_text() == "changed here, and longer"
    pathlib.Path(tmp_path / "other/a").unlink()
    other.push()
    assert names(store) == set()


def test_a_mirror_keeps_what_it_pulls_and_does_not_send(store, tmp_path):
    storage.write_text(f"{store}/best_ckpt/best.json", "{}")
    storage.write_text(f"{store}/logs/rank-0.jsonl", "{}")
    mirror = Mirror(tmp_path, store, lambda n: not n.startswith("best_ckpt/"))
    mirror.pull(lambda n: True)
    assert (tmp_path / "best_ckpt/best.json").exists()
    mirror.push()
    assert set(storage.listing(store, recursive=True)) == {"best_ckpt/best.json", "logs/rank-0.jsonl"}


def test_a_manifest_that_is_no_json_is_damage():
    with pytest.raises(CheckpointError, match=r"x: can't be read"):
        manifest.parse("[]", "x")
