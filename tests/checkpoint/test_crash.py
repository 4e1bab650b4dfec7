"""A save that dies at any of its file operations leaves a complete checkpoint."""

from __future__ import annotations

import os

import pytest
import tensorflow as tf

from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError

OPERATIONS = ("fsync", "replace", "unlink", "rmdir", "mkdir", "link")


class Killed(BaseException):
    """Not an Exception: nothing in the store may tidy up after it, as nothing does after kill -9."""


class Breaker:
    """Counts the file operations of a save, and fails the k-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.at, self.error = 0, -1, Killed()
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self._wrap(getattr(os, name)))
        # A killed process doesn't remove the rest of a tree.
        monkeypatch.setattr("shutil.rmtree", self._remove_tree)
        self.dead = False

    def _wrap(self, operation):
        def wrapped(*arguments, **named):
            self._tick()
            return operation(*arguments, **named)

        return wrapped

    def _tick(self) -> None:
        self.count += 1
        if self.dead or self.count == self.at:
            self.dead = isinstance(self.error, Killed)
            raise self.error

    def _remove_tree(self, path, ignore_errors=False) -> None:
        for name in os.listdir(path) if os.path.isdir(path) else []:
            os.unlink(os.path.join(path, name))
        if os.path.isdir(path):
            os.rmdir(path)

    def arm(self, at: int, error: BaseException) -> None:
        self.count, self.at, self.error, self.dead = 0, at, error, False

    def disarm(self) -> None:
        self.arm(-1, Killed())


def operations_of(save, breaker: Breaker) -> int:
    breaker.disarm()
    save()
    return breaker.count


def fill_and_save(store: Store, state, step: int, seed: int) -> None:
    state.fill(seed)
    store.save(step, state.entries, {"seed": seed})


def complaint(save) -> str:
    """The text of the CheckpointError that `save` ends with, if it does."""
    try:
        save()
    except CheckpointError as error:
        return str(error)
    return ""


def whole(model_dir, other) -> int:
    """The seed of the latest checkpoint, after checking that it is whole and belongs together."""
    store = Store(str(model_dir))
    latest = store.latest()
    assert latest is not None
    store.restore(latest, other.entries)
    seed = store.extra(latest)["seed"]
    assert other.holds(seed)
    return seed


def test_killed_anywhere_in_a_new_step(tmp_path, state, other, monkeypatch):
    breaker = Breaker(monkeypatch)
    rehearsal = Store(str(tmp_path / "rehearsal"), 2)
    for step in (10, 20):
        fill_and_save(rehearsal, state, step, step)
    total = operations_of(lambda: fill_and_save(rehearsal, state, 30, 30), breaker)
    assert total > 10
    found = set()
    for k in range(1, total + 1):
        model_dir = tmp_path / str(k)
        store = Store(str(model_dir), 2)
        breaker.disarm()
        for step in (10, 20):
            fill_and_save(store, state, step, step)
        breaker.arm(k, Killed())
        with pytest.raises(Killed):
            fill_and_save(store, state, 30, 30)
        breaker.disarm()
        seed = whole(model_dir, other)
        found.add(seed)
        assert seed in (20, 30)
        # TensorFlow's own idea of the latest is a whole one too.
        known = tf.train.latest_checkpoint(str(model_dir))
        store.restore(known, other.entries)
        assert other.holds(20) or other.holds(30)
        # The next run saves on as if nothing had been, and nothing is left lying about.
        again = Store(str(model_dir), 2)
        fill_and_save(again, state, 40, 40)
        assert whole(model_dir, other) == 40
        assert len(again.steps()) == 2
        assert len(os.listdir(model_dir)) == 7, os.listdir(model_dir)
    assert found == {20, 30}


def test_killed_anywhere_in_the_first_save(tmp_path, state, other, monkeypatch):
    breaker = Breaker(monkeypatch)
    total = operations_of(lambda: fill_and_save(Store(str(tmp_path / "r")), state, 0, 5), breaker)
    for k in range(1, total + 1):
        model_dir = tmp_path / str(k)
        breaker.arm(k, Killed())
        with pytest.raises(Killed):
            fill_and_save(Store(str(model_dir)), state, 0, 5)
        breaker.disarm()
        if Store(str(model_dir)).steps():
            assert whole(model_dir, other) == 5
        fill_and_save(Store(str(model_dir)), state, 0, 6)
        assert whole(model_dir, other) == 6


@pytest.mark.parametrize("links", [True, False])
def test_killed_anywhere_while_the_only_step_is_replaced(tmp_path, state, other, monkeypatch, links):
    """As on a resume that saves at once, should its values differ."""
    if not links:

        def refuse(*_: object) -> None:
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", refuse)
    breaker = Breaker(monkeypatch)
    rehearsal = Store(str(tmp_path / "r"), 1)
    fill_and_save(rehearsal, state, 10, 1)
    total = operations_of(lambda: fill_and_save(rehearsal, state, 10, 2), breaker)
    found = set()
    for k in range(1, total + 1):
        model_dir = tmp_path / str(k)
        breaker.disarm()
        fill_and_save(Store(str(model_dir), 1), state, 10, 1)
        breaker.arm(k, Killed())
        with pytest.raises(Killed):
            fill_and_save(Store(str(model_dir), 1), state, 10, 2)
        breaker.disarm()
        found.add(whole(model_dir, other))
        fill_and_save(Store(str(model_dir), 1), state, 10, 3)
        assert whole(model_dir, other) == 3
        assert [n for n in os.listdir(model_dir) if n.startswith(".")] == []
    assert found == {1, 2}


def test_an_error_anywhere_is_told_and_harms_nothing(tmp_path, state, other, monkeypatch):
    breaker = Breaker(monkeypatch)
    rehearsal = Store(str(tmp_path / "rehearsal"), 2)
    fill_and_save(rehearsal, state, 10, 10)
    total = operations_of(lambda: fill_and_save(rehearsal, state, 20, 20), breaker)
    told = 0
    for k in range(1, total + 1):
        model_dir = tmp_path / str(k)
        store = Store(str(model_dir), 2)
        breaker.disarm()
        fill_and_save(store, state, 10, 10)
        breaker.arm(k, OSError(28, "No space left on device"))
        text = complaint(lambda store=store: fill_and_save(store, state, 20, 20))
        told += bool(text)
        assert not text or "No space left on device" in text
        assert "\n" not in text
        breaker.disarm()
        assert whole(model_dir, other) in (10, 20)
    assert 5 < told < total  # an older checkpoint that can't be removed is not worth stopping for


def test_what_a_dead_process_left_is_swept(tmp_path, state):
    import socket

    host = socket.gethostname()
    dead = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(dead, 0)
    left = tmp_path / f".tmp-5-{host}-{dead}"
    alive = tmp_path / f".tmp-5-{host}-{os.getppid()}"
    elsewhere = tmp_path / ".tmp-5-another.host-17"
    old = tmp_path / ".tmp-6-another.host-17"
    for path in (left, alive, elsewhere, old):
        path.mkdir()
    os.utime(old, (0, 0))
    Store(str(tmp_path)).save(1, state.entries, {})
    assert not left.exists()
    assert not old.exists()
    assert alive.exists()
    assert elsewhere.exists()


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path, state, monkeypatch):
    """A crash of the machine keeps only what was synced, so the order of syncs is the protocol."""
    log: list[tuple[str, ...]] = []
    fsync, replace = os.fsync, os.replace

    def logged_fsync(descriptor: int) -> None:
        log.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def logged_replace(source, target) -> None:
        log.append(("rename", str(source), str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(os, "replace", logged_replace)
    Store(str(tmp_path)).save(1, state.entries, {})
    renames = [(i, *entry[1:]) for i, entry in enumerate(log) if entry[0] == "rename"]
    names = [os.path.basename(target) for _, _, target in renames]
    assert names == [
        "model.ckpt-1.data-00000-of-00001",
        "model.ckpt-1.manifest.json",
        "model.ckpt-1.index",
        "checkpoint",
    ]
    for at, source, _ in renames:
        assert ("sync", source) in log[:at]
    index, state_file = renames[2][0], renames[3][0]
    directory = ("sync", str(tmp_path))
    assert directory in log[renames[1][0] : index]
    assert directory in log[index:state_file]
    assert directory in log[state_file:]
