"""Checkpoints of variables that are split over ranks; the ranks are threads."""

from __future__ import annotations

import os
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf
from checkpoint.test_crash import Breaker, Killed, operations_of
from thread_ranks import on_threads

from hvdrec.checkpoint import portions
from hvdrec.checkpoint.bundle import RowReader
from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.parts import gather_parts, write_parts
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.store import Staged, Store
from hvdrec.errors import CheckpointError, DamagedError
from hvdrec.layers.banks.deal import Deal
from hvdrec.layers.banks.split import SplitVariable
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run.parts import restore_parts

TABLES = (("a", 0, 70), ("b", 70, 75), ("c", 75, 131))
ROWS, WIDTH = 131, 3


def values(seed: int) -> dict[str, np.ndarray]:
    """Entries of one whole bank and its slot, and of a variable that every rank holds."""
    random = np.random.default_rng(seed)
    found = {s: random.normal(size=(ROWS, WIDTH)).astype(np.float32) for s in ("", "/Adam")}
    return {**found, "kernel": random.normal(size=(4, 2)).astype(np.float32)}


def named(seed: int) -> dict[str, np.ndarray]:
    """The same by the names of a checkpoint."""
    found = values(seed)
    tables = {f"{n}{s}": found[s][i:j] for s in ("", "/Adam") for n, i, j in TABLES}
    return {**tables, "kernel": found["kernel"], "global_step": np.int64(seed)}


class Model:
    """What a rank has of it; whole in a group of one unless `split`."""

    def __init__(self, group: ReplicaGroup, split: bool | None = None) -> None:
        self.group, self.deal = group, Deal(ROWS, group.size)
        self.split = group.size > 1 if split is None else split
        self.parts: dict[str, tf.Variable] = {}
        entries = []
        for slot in ("", "/Adam"):
            rows = self.deal.per_rank if self.split else ROWS
            part = self.parts[slot] = tf.Variable(tf.fill([rows, WIDTH], np.float32(7)))
            variable = SplitVariable(slot, part, self.deal, group.rank) if self.split else part
            entries.extend(SavedTensor(f"{n}{slot}", variable, (i, j)) for n, i, j in TABLES)
        self.kernel, self.step = tf.Variable(tf.zeros([4, 2])), tf.Variable(0, dtype=tf.int64)
        entries.append(SavedTensor("kernel", self.kernel, None))
        self.entries = [*entries, SavedTensor("global_step", self.step, None)]

    def fill(self, seed: int) -> None:
        for name, value in values(seed).items():
            if name == "kernel":
                self.kernel.assign(value)
            elif self.split:
                rows = self.deal.held(self.group.rank, 0, ROWS)[1]
                SplitVariable(name, self.parts[name], self.deal, self.group.rank).write(0, ROWS, value[rows])
            else:
                self.parts[name].assign(value)
        self.step.assign(seed)

    def save(self, store: Store, seed: int) -> None:
        """As the trainer does."""
        self.fill(seed)
        folder = self.group.gather_objects(store.begin(seed) if self.group.rank == 0 else None)[0]
        written, error = write_parts(folder / f"model.ckpt-{seed}", self.entries, self.group)
        if error is not None:
            raise error
        parts = [p for each in self.group.gather_objects(written) for p in each]
        if self.group.rank == 0:
            from hvdrec.checkpoint.snapshot import Snapshot

            store.write(seed, Snapshot(self.entries), {"seed": seed}, Staged(folder, parts, time.monotonic()))
        self.group.gather_objects(None)

    def restore(self, store: Store) -> None:
        report = store.restore_newest(lambda _: self.entries) if self.group.rank == 0 else None
        self.group.broadcast([self.kernel, self.step])
        restore_parts(self.group, self.entries, report)

    def found(self) -> dict[str, np.ndarray]:
        """All values, on rank 0."""
        found = {"kernel": self.kernel.numpy(), "global_step": self.step.numpy()}
        for e in self.entries:
            if e.rows and self.split and self.group.rank == 0:
                found[e.name] = np.full(e.shape, np.nan, np.float32)
            elif e.rows and not self.split:
                found[e.name] = e.variable.numpy()[slice(*e.rows)]

        def put(name: str, first: int, last: int, rows: np.ndarray) -> None:
            found[name][first:last] = rows

        gather_parts(self.entries, self.group, put)
        return found


def same(found: dict[str, np.ndarray], seed: int) -> bool:
    wanted = named(seed)
    assert found.keys() == wanted.keys()
    return all(np.array_equal(found[n], wanted[n]) for n in wanted)


@pytest.fixture(params=[50, 16 << 20], ids=["many rounds", "one round"])
def least(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The least that a rank holds at once."""
    monkeypatch.setattr(portions, "_LEAST_BYTES", request.param)
    return request.param


@pytest.mark.parametrize("ranks", [2, 3])
def test_any_number_of_ranks_restores_it(tmp_path: pathlib.Path, ranks: int, least: int) -> None:
    folder = str(tmp_path)
    on_threads(ranks, lambda group: Model(group).save(Store(folder), 5))
    # TensorFlow's own reader sees whole tables.
    reader = tf.train.load_checkpoint(f"{folder}/model.ckpt-5")
    assert same({name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}, 5)
    files = [name for name in os.listdir(folder) if ".data-" in name]
    assert len(files) > ranks if least < 100 else len(files) == ranks + 1

    def restored(group: ReplicaGroup) -> dict[str, np.ndarray]:
        model = Model(group)
        model.restore(Store(folder))
        return model.found()

    for other in (1, 2, 3, 5):
        assert same(on_threads(other, restored)[0], 5)


def test_what_one_process_saved_is_split(tmp_path: pathlib.Path, least: int) -> None:
    folder = str(tmp_path)
    alone = Model(SingleReplica())
    alone.fill(4)
    Store(folder).save(4, alone.entries, {})

    def restored(group: ReplicaGroup) -> dict[str, np.ndarray]:
        model = Model(group)
        model.restore(Store(folder))
        return model.found()

    assert same(on_threads(3, restored)[0], 4)


def test_easyrec_s_partitions_are_split(tmp_path: pathlib.Path) -> None:
    """Parts under separate names, and slices of one name, including slices of columns."""
    prefix, value = str(tmp_path / "model.ckpt-1"), values(1)[""]
    names = ["a/part_0", "a/part_1", "b", "b", "c", "c"]
    specs = ["", "", "5 3 0,2:-", "5 3 2,3:-", "56 3 -:0,1", "56 3 -:1,2"]
    pieces = [value[:50], value[50:70], value[70:72], value[72:75], value[75:, :1], value[75:, 1:]]
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=specs, tensors=[tf.constant(p) for p in pieces]
    )
    rows = RowReader(Reader(prefix))
    for name, first, last in TABLES:
        rows.check(name)
        for i, j in ((0, 1), (1, last - first), (0, last - first)):
            np.testing.assert_array_equal(rows.read(name, i, j), value[first:last][i:j])

    def restored(group: ReplicaGroup) -> dict[str, np.ndarray]:
        model = Model(group)
        report = fine_tune(prefix, model.entries) if group.rank == 0 else None
        restore_parts(group, model.entries, report)
        return model.found()

    found = on_threads(2, restored)[0]
    np.testing.assert_array_equal(np.concatenate([found[n] for n, _, _ in TABLES]), value)
    # What the checkpoint lacks keeps its first value.
    assert all((found[f"{n}/Adam"] == 7).all() for n, _, _ in TABLES)


def test_other_shapes_are_cut_or_filled(tmp_path: pathlib.Path) -> None:
    prefix, value = str(tmp_path / "model.ckpt-1"), values(1)[""]
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=["old", "b"],
        shape_and_slices=["", ""],
        tensors=[tf.constant(value[:60, :2]), tf.constant(value[:20])],
    )
    mapped = tmp_path / "map"
    mapped.write_text("a\told\n")

    def restored(group: ReplicaGroup) -> dict[str, np.ndarray]:
        model = Model(group)
        report = fine_tune(prefix, model.entries, str(mapped), True) if group.rank == 0 else None
        restore_parts(group, model.entries, report)
        return model.found()

    found = on_threads(3, restored)[0]
    wanted = np.zeros((70, 3), np.float32)
    wanted[:60, :2] = value[:60, :2]
    np.testing.assert_array_equal(found["a"], wanted)
    np.testing.assert_array_equal(found["b"], value[:5])


def test_damage_anywhere_leads_to_the_one_before(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path)
    for seed in (3, 4):
        on_threads(2, lambda group, seed=seed: Model(group).save(Store(folder), seed))

    def restored(group: ReplicaGroup) -> dict[str, np.ndarray]:
        model = Model(group)
        model.restore(Store(folder))
        return model.found()

    newest = [tmp_path / name for name in sorted(os.listdir(folder)) if name.startswith("model.ckpt-4.")]
    assert len(newest) == 5
    for path in newest:
        data = path.read_bytes()
        path.write_bytes(
            data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        )
        assert same(on_threads(3, restored)[0], 3), path
        path.write_bytes(data)
    assert same(on_threads(3, restored)[0], 4)


def test_damage_to_a_whole_variable_shows(tmp_path: pathlib.Path) -> None:
    alone = Model(SingleReplica())
    alone.fill(4)
    Store(str(tmp_path)).save(4, alone.entries, {})
    path = tmp_path / "model.ckpt-4.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    rows = RowReader(Reader(str(tmp_path / "model.ckpt-4")))
    with pytest.raises(DamagedError, match="checksum"):
        [rows.check(name) for name, _, _ in TABLES]


def test_killed_anywhere_a_whole_checkpoint_stays(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new step; and the only step again with other values, in another number of files."""
    breaker, group = Breaker(monkeypatch), SingleReplica()

    def save(store: Store, seed: int, portion: int = 400) -> None:
        monkeypatch.setattr(portions, "_LEAST_BYTES", portion)
        Model(group, True).save(store, seed)

    def seed(folder: pathlib.Path) -> int:
        model = Model(group, True)
        model.restore(Store(str(folder)))
        found = int(model.step.numpy())
        assert same(model.found(), found)
        return found

    save(Store(str(tmp_path / "r")), 1)
    total = operations_of(lambda: save(Store(str(tmp_path / "r")), 2), breaker)
    assert total > 15
    seeds = set()
    for k in range(1, total + 1):
        folder = tmp_path / str(k)
        breaker.disarm()
        save(Store(str(folder)), 1)
        breaker.arm(k, Killed())
        with pytest.raises(Killed):
            save(Store(str(folder)), 2)
        breaker.disarm()
        seeds.add(seed(folder))
        save(Store(str(folder), 1), 3, 16 << 20)
        assert seed(folder) == 3
        assert len(os.listdir(folder)) == 5, os.listdir(folder)
    assert seeds == {1, 2}


def test_a_step_saved_again_in_fewer_files_leaves_no_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, store = SingleReplica(), Store(str(tmp_path))
    monkeypatch.setattr(portions, "_LEAST_BYTES", 100)
    Model(group, True).save(store, 1)
    many = len(os.listdir(tmp_path))
    monkeypatch.setattr(portions, "_LEAST_BYTES", 16 << 20)
    Model(group, True).save(store, 1)
    assert len(os.listdir(tmp_path)) == 5 < many
    model = Model(group, True)
    model.restore(store)
    assert same(model.found(), 1)


def test_a_rank_that_can_t_write_takes_part_and_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hvdrec.checkpoint import files

    real = files.sync_file

    def full(path: pathlib.Path) -> None:
        if ".part-1-" in path.name:
            raise OSError(28, "No space left on device", str(path))
        real(path)

    monkeypatch.setattr(files, "sync_file", full)

    def work(group: ReplicaGroup) -> str:
        try:
            written, error = write_parts(tmp_path / "model.ckpt-1", Model(group).entries, group)
        except CheckpointError as failure:
            return str(failure)
        return f"{len(written)} {error}"

    first, second = on_threads(2, work)
    assert first == "1 None"
    assert "No space left" in second


def _address(tensor: tf.Tensor) -> int:
    return np.frombuffer(tensor, np.float32).__array_interface__["data"][0]  # type: ignore[call-overload]


def test_rows_are_read_and_written_where_they_are_while_something_else_has_them() -> None:
    deal = Deal(100, 1)
    part = tf.Variable(tf.zeros([deal.per_rank, 4]))
    whole = SplitVariable("table", part, deal, 0)
    rows = np.arange(400, dtype=np.float32).reshape(100, 4)
    whole.write(0, 100, rows)
    kept = part.read_value_no_copy()
    assert _address(part.read_value()) == _address(kept)
    np.testing.assert_array_equal(whole.read(10, 20), rows[10:20])
    assert _address(part.read_value_no_copy()) == _address(kept)
