from __future__ import annotations

import logging
import threading

import pytest

from hvdrec.checkpoint import files
from hvdrec.checkpoint import snapshot as snapshot_module
from hvdrec.checkpoint.background import BackgroundSaver
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError


class SlowStore(Store):
    """Writes only when it is let."""

    def __init__(self, model_dir: str) -> None:
        super().__init__(model_dir)
        self.let = threading.Event()
        self.writing = 0
        self.most = 0

    def write(self, step, tensors, extra, staged=None) -> str:
        self.writing += 1
        self.most = max(self.most, self.writing)
        assert self.let.wait(30)
        prefix = super().write(step, tensors, extra, staged)
        self.writing -= 1
        return prefix


def test_what_is_saved_are_the_values_of_that_moment(tmp_path, state, other):
    store = SlowStore(str(tmp_path))
    saver = BackgroundSaver(store)
    state.fill(5)
    saver.start(5, state.entries, {"row": 3})
    state.fill(6)
    assert saver.poll() == []
    store.let.set()
    (saved,) = saver.wait()
    assert (saved.step, saved.prefix) == (5, str(tmp_path / "model.ckpt-5"))
    assert saved.held < saved.written
    store.restore(saved.prefix, other.entries)
    assert other.holds(5)
    assert store.extra(saved.prefix) == {"row": 3}


def test_of_many_values_none_is_held_while_training_goes_on(tmp_path, state, other, monkeypatch):
    """`start` ends once they are written, though not yet on the disk."""
    let = threading.Event()
    monkeypatch.setattr(snapshot_module, "LARGE", 1)
    sync = files.sync_file
    monkeypatch.setattr(files, "sync_file", lambda path: (let.wait(30), sync(path)))
    saver = BackgroundSaver(Store(str(tmp_path)))
    state.fill(5)
    saver.start(5, state.entries, {})
    assert saver.poll() == []
    state.fill(6)
    let.set()
    (saved,) = saver.wait()
    assert 0 < saved.held < saved.written
    saver.store.restore(saved.prefix, other.entries)
    assert other.holds(5)


def test_a_failure_to_write_many_values_shows(tmp_path, state, monkeypatch):
    (tmp_path / "model").write_text("not a directory")
    monkeypatch.setattr(snapshot_module, "LARGE", 1)
    saver = BackgroundSaver(Store(str(tmp_path / "model")))
    saver.start(1, state.entries, {})
    with pytest.raises(CheckpointError, match="can't save"):
        saver.wait()


def test_one_at_a_time(tmp_path, state):
    store = SlowStore(str(tmp_path))
    saver = BackgroundSaver(store)
    saver.start(1, state.entries, {})
    second = threading.Thread(target=saver.start, args=(2, state.entries, {}))
    second.start()
    second.join(0.1)
    assert second.is_alive()
    store.let.set()
    second.join()
    assert [s.step for s in saver.wait()] == [1, 2]
    assert store.most == 1


@pytest.mark.parametrize("how", ["start", "poll", "wait", "close"])
def test_a_failure_shows(tmp_path, state, how, caplog):
    (tmp_path / "model").write_text("not a directory")
    saver = BackgroundSaver(Store(str(tmp_path / "model")))
    saver.start(1, state.entries, {})
    saver._thread.join()
    if how == "close":
        with caplog.at_level(logging.ERROR):
            saver.close()
        assert "can't save" in caplog.text
        return
    arguments = (2, state.entries, {}) if how == "start" else ()
    with pytest.raises(CheckpointError, match="can't save"):
        getattr(saver, how)(*arguments)
    assert saver.wait() == []
