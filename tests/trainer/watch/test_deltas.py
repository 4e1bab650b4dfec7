"""Deltas between checkpoints: exactly the rows that changed, a service that follows them, killed runs, ranks."""

from __future__ import annotations

import contextlib
import csv
import json
import pathlib
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from data.broker import Broker
from small_job import SmallJob, write_data
from thread_ranks import on_threads

from hvdrec.checkpoint.deltas import SPARSE, DeltaFolder, Rows, Variables, encode_rows, rows_in, split_rows
from hvdrec.config import load
from hvdrec.config.protos import train_pb2
from hvdrec.data.batch import BEGINNING
from hvdrec.errors import CheckpointError, DamagedError, StorageError, WriteError
from hvdrec.layers import initializers
from hvdrec.layers.banks.replicated import Replicated
from hvdrec.layers.banks.split import Split
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.serving.updates import variables_of
from hvdrec.trainer import assembly
from hvdrec.trainer.job import Job
from hvdrec.trainer.loop import Loop
from hvdrec.trainer.watch import delta_topic
from hvdrec.trainer.watch.delta_topic import DeltaTopic
from hvdrec.trainer.watch.deltas import DeltaPlaces, Deltas, delta_assets

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "examples"))
from apply_deltas import Follower

COLUMNS = ("label", "a", "b", "c", "tags", "x", "y", "uid", "weight")
TABLES = Variables((("kernel", (2, 3)),), (("a", (10, 2)), ("b", (5, 4))))


def _job(folder: pathlib.Path, data: str, steps: int) -> Job:
    made = SmallJob(
        folder / data,
        folder / "run",
        steps=steps,
        train_extra="save_checkpoints_steps: 6 "
        "incr_save_config { dense_save_steps: 4 sparse_save_steps: 4 fs {} }",
    )
    path = made.write(folder / "run.config")
    path.write_text(path.read_text().replace("save_checkpoints_steps: 1000", ""))
    return Job(load(str(path)), SingleReplica())


def _tables(folder: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / f"run/model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _predictions(model: object, rows: pathlib.Path) -> np.ndarray:
    signature = model.signatures["serving_default"]
    columns = dict(zip(COLUMNS, zip(*csv.reader(rows.open()), strict=True), strict=True))
    given = {
        name: tf.constant(np.array(columns[name]).astype(spec.dtype.as_numpy_dtype))
        for name, spec in signature.structured_input_signature[1].items()
    }
    return signature(**given)["probs"].numpy()


def _assert_follows(follower: Follower, job: Job, folder: pathlib.Path, step: int, rows: str) -> None:
    """The model that a service has is the one that the run would export."""
    before = _predictions(follower.model, folder / rows)
    assert follower.catch_up()
    assert follower.step == step
    fresh = saved_model.write(ServingModule(job.proto, job.recommender), folder / "fresh", job.proto)
    found = _predictions(follower.model, folder / rows)
    np.testing.assert_array_equal(found, _predictions(tf.saved_model.load(str(fresh)), folder / rows))
    assert np.abs(found - before).max() > 1e-4
    assert follower.catch_up() == 0


def test_a_service_follows_a_run_and_the_run_that_continues_after_a_kill(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 400)
    write_data(tmp_path / "other.csv", 400, seed=5)
    job = _job(tmp_path, "train.csv", 12)
    texts = delta_assets(job.proto, job.recommender, 0, str(tmp_path / "run"))
    base = saved_model.write(
        ServingModule(job.proto, job.recommender), tmp_path / "export", job.proto, texts=texts
    )
    follower = Follower(base)
    job.train(False, 0)
    folder = tmp_path / "run/incr_save"
    done = {path.stem for path in folder.glob("*.done")}
    # Every four steps, and before each checkpoint.
    assert done == {f"{kind}_update_{step}" for kind in ("dense", "sparse") for step in (4, 6, 8, 12)}
    assert (folder / "sparse_update_8.done").read_text() == "sparse_update_8"

    # Exactly the rows that differ from the last checkpoint, although Adam moves rows of earlier batches too.
    before, after, variables = _tables(tmp_path, 6), _tables(tmp_path, 12), variables_of(job.recommender)
    found = rows_in((folder / "sparse_update_12").read_bytes(), variables)
    for number, (name, _) in enumerate(variables.tables):
        changed = np.flatnonzero((before[name] != after[name]).any(axis=1))
        np.testing.assert_array_equal(found[number].keys, changed)
        np.testing.assert_array_equal(found[number].values, after[name][changed])
    _assert_follows(follower, job, tmp_path, 12, "train.csv")

    # As if it had been killed before the checkpoint of step 12, and continued with other rows.
    for path in (tmp_path / "run").glob("model.ckpt-12.*"):
        path.unlink()
    again = _job(tmp_path, "other.csv", 12)
    again.train(True, 0)
    assert json.loads((folder / "sparse_update_8.json").read_text())["full_save"] == 6
    _assert_follows(follower, again, tmp_path, 12, "train.csv")
    assert not list(folder.glob(".*"))
    with pytest.raises(CheckpointError, match="deltas of another run"):
        DeltaFolder(folder).check(variables, resumed=False)
    with pytest.raises(CheckpointError, match="other variables"):
        DeltaFolder(folder).check(TABLES, resumed=True)


def _rows(seed: int, most: int = 10, dim: int = 2) -> Rows:
    rng = np.random.default_rng(seed)
    keys = np.flatnonzero(rng.random(most) < 0.5)
    return Rows(keys, rng.normal(size=(len(keys), dim)).astype(np.float32))


def test_messages_are_easyrecs_and_damage_is_an_error() -> None:
    rows = Rows(np.array([3, 7]), np.array([[1, 2], [3, 4]], np.float32))
    message = encode_rows(9, [(0, rows)])
    assert message == (
        np.array([1, 1, 9, 0, 2], np.int32).tobytes()
        + np.array([3, 7], np.int64).tobytes()
        + np.array([1, 2, 3, 4], np.float32).tobytes()
    )
    rng = np.random.default_rng(0)
    message = encode_rows(9, [(0, _rows(1)), (1, _rows(2, 5, 4))])
    for _ in range(10_000):
        changed = bytearray(message)
        place = int(rng.integers(0, 32))
        kind = rng.integers(0, 3)
        if kind == 0:
            changed[place] = int(rng.integers(0, 256))
        elif kind == 1:
            del changed[place:]
        else:
            changed[place:place] = rng.bytes(int(rng.integers(1, 9)))
        try:
            found = rows_in(bytes(changed), TABLES)
        except DamagedError:
            continue
        for number, (keys, values) in found.items():
            assert values.shape == (len(keys), TABLES.tables[number][1][1])
            assert all((keys >= 0) & (keys < TABLES.tables[number][1][0]))


@pytest.mark.parametrize("most", [44, 100, 1000])
def test_large_messages_are_divided(most: int) -> None:
    tables = [(0, _rows(3)), (1, _rows(4, 5, 4))]
    parts = [encode_rows(1, part) for part in split_rows(tables, most)]
    assert all(len(part) <= most for part in parts)
    found: dict[int, list[Rows]] = {}
    for part in parts:
        for number, rows in rows_in(part, TABLES).items():
            found.setdefault(number, []).append(rows)
    for number, rows in tables:
        np.testing.assert_array_equal(np.concatenate([r.keys for r in found[number]]), rows.keys)
        np.testing.assert_array_equal(np.concatenate([r.values for r in found[number]]), rows.values)


def test_rows_of_a_killed_run_are_remembered_until_they_are_sent_again(tmp_path: pathlib.Path) -> None:
    folder = DeltaFolder(tmp_path)
    assert folder.claim(TABLES, 0) == {}
    for step in (5, 10):
        folder.write(SPARSE, step, encode_rows(step, [(0, _rows(step))]), 0)
    for _ in range(2):
        # The second time as after a kill right after the first.
        owed = DeltaFolder(tmp_path).claim(TABLES, 4)
        np.testing.assert_array_equal(owed[0], np.union1d(_rows(5).keys, _rows(10).keys))
        assert not folder.steps()
        assert not list(tmp_path.glob("*.done"))
    (tmp_path / ".withdrawn-sparse_update_5").write_bytes(b"damaged")
    assert folder.claim(TABLES, 4) is None
    folder.forget()
    assert folder.claim(TABLES, 4) == {}


def _layouts() -> list[BankLayout]:
    table = lambda name, rows: BankTable(name, rows, initializers.glorot_uniform)  # noqa: E731
    return [
        BankLayout("small", 2, (table("s", 3),)),
        BankLayout("large", 4, (table("a", 9), table("b", 8))),
    ]


def _sent(group: ReplicaGroup, folder: pathlib.Path, is_split: bool) -> list[bytes]:
    """What is sent when some rows change; with `is_split` rows of the second bank are on several ranks."""
    layouts = _layouts()
    banks = Split(layouts, 0, group, [False, True]) if is_split else Replicated(layouts, 0)
    config = types.SimpleNamespace(
        dense_save_steps=0, sparse_save_steps=2, dense_save_secs=0, sparse_save_secs=0, fs=None
    )
    store = types.SimpleNamespace(variables_by_name={})
    recommender = types.SimpleNamespace(banks=banks.banks, store=store)
    proto = load_fs(str(folder))
    places = DeltaPlaces(proto, str(folder), False, group.rank == 0)
    optimizer = _Plain()
    checkpoints = types.SimpleNamespace(steps=lambda: [0])
    deltas = Deltas(config, recommender, optimizer, group, checkpoints, places, {}, False)
    deltas.begin(0)
    deltas.full_save(0)
    for step, rows in ((2, [0, 8, 9, 16]), (4, [5, 9]), (6, [1])):
        if step == 6:
            deltas.full_save(4)
        _change(banks.banks, rows, step)
        deltas.emit(step, True, True)
    return [(folder / f"sparse_update_{step}").read_bytes() for step in (2, 4, 6)]


class _Plain:
    def averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def load_fs(folder: str) -> object:
    config = train_pb2.IncrementSaveConfig()
    config.fs.incr_save_dir, config.fs.relative = folder, False
    return config


def _change(banks: tuple, rows: list[int], step: int) -> None:
    banks[0].variable.scatter_update(tf.IndexedSlices(tf.fill([1, 2], float(step)), [step % 3]))
    values = np.array([[step, row, 0, 1] for row in range(17)], np.float32)
    for row in rows:
        if isinstance(banks[1].variable, tf.Variable):
            banks[1].variable.scatter_update(tf.IndexedSlices(values[row : row + 1], [row]))
        else:
            own, _ = banks[1].deal.held(banks[1].rank, row, row + 1)
            banks[1].variable.write(row, row + 1, values[row : row + 1][: len(own)])


def test_split_tables_send_the_same(tmp_path: pathlib.Path) -> None:
    for name in ("whole", "split"):
        (tmp_path / name).mkdir()
    whole = _sent(SingleReplica(), tmp_path / "whole", False)
    split = on_threads(3, lambda group: _sent(group, tmp_path / "split", True))
    assert split[0] == whole
    found = rows_in(whole[1], Variables((), (("s", (3, 2)), ("a", (9, 4)), ("b", (8, 4)))))
    assert [rows.keys.tolist() for rows in found.values()] == [[1, 2], [0, 5, 8], [0, 7]]


def test_a_service_applies_again_what_a_restarted_run_repeats(tmp_path: pathlib.Path) -> None:
    follower, applied = Follower.__new__(Follower), list[int]()
    follower.folder, follower.step, follower._exported, follower._applied = tmp_path, 4, 4, {}
    follower.apply = lambda message: applied.append(int(np.frombuffer(message, np.int32, 3)[2]))
    folder = DeltaFolder(tmp_path)
    folder.claim(TABLES, 0)
    for step in (5, 10):
        folder.write(SPARSE, step, encode_rows(step, [(0, _rows(step))]), 4)
    assert follower.catch_up() == 2
    # Killed, and continued from step 4: the first message also has the rows of the second.
    folder.claim(TABLES, 4)
    assert follower.catch_up() == 0
    folder.write(SPARSE, 5, encode_rows(5, [(0, _rows(6))]), 4)
    assert follower.catch_up() == 1
    # The second is the same as before, and has values of rows that the first has set back.
    folder.write(SPARSE, 10, encode_rows(10, [(0, _rows(10))]), 4)
    assert follower.catch_up() == 1
    assert follower.catch_up() == 0
    assert applied == [5, 10, 5, 10]
    # A run that makes no step writes the message of the step that it starts at.
    folder.write(SPARSE, 4, encode_rows(4, [(0, _rows(4))]), 4)
    assert follower.catch_up() == 3
    (tmp_path / "sparse_update_10").write_bytes(b"damaged")
    (tmp_path / "sparse_update_10.json").write_text('{"sha256": "0"}')
    with pytest.raises(OSError, match="sparse_update_10 is damaged"):
        follower.catch_up()


class _Small:
    """A run with two tables, ``s`` [3, 2] and ``a`` [9, 4], and one other variable."""

    variables = Variables((("kernel", (2,)),), (("s", (3, 2)), ("a", (9, 4))))

    def __init__(
        self,
        folder: pathlib.Path,
        kept: dict[str, object] | None = None,
        frozen: bool = False,
        begin: int = 0,
    ) -> None:
        table = lambda name, rows: (BankTable(name, rows, initializers.zeros),)  # noqa: E731
        layouts = [
            BankLayout("small", 2, table("s", 3), trained=not frozen),
            BankLayout("large", 4, table("a", 9)),
        ]
        self.folder, self.banks = folder, Replicated(layouts, 0).banks
        config = types.SimpleNamespace(
            dense_save_steps=2, sparse_save_steps=2, dense_save_secs=0, sparse_save_secs=0
        )
        store = types.SimpleNamespace(variables_by_name={"kernel": tf.Variable([1.0, 2.0])})
        self.job = types.SimpleNamespace(
            proto=types.SimpleNamespace(train_config=types.SimpleNamespace(incr_save_config=config)),
            recommender=types.SimpleNamespace(banks=self.banks, store=store),
            optimizer=_Plain(),
            group=SingleReplica(),
            store=types.SimpleNamespace(steps=lambda: [] if kept is None else [begin]),
            delta_places=DeltaPlaces(load_fs(str(folder)), str(folder), False, True),
            deltas=None,
        )
        self.deltas = assembly._deltas(self.job, {} if kept is None else {"incr_save": kept})
        self.deltas.begin(begin)
        self.deltas.full_save(begin)

    def change(self, bank: int, row: int) -> None:
        variable = self.banks[bank].variable
        variable.scatter_update(tf.IndexedSlices(variable.read_value()[row : row + 1] + 1.0, [row]))

    def sent(self, step: int) -> dict[int, list[int]]:
        """The rows that the message of a step has, by table."""
        found = rows_in((self.folder / f"sparse_update_{step}").read_bytes(), self.variables)
        return {number: rows.keys.tolist() for number, rows in found.items()}


def _killed(folder: pathlib.Path) -> None:
    """A run that was killed at step 6, after a checkpoint of step 4."""
    run = _Small(folder)
    for step, row in ((2, 5), (4, 6), (6, 7)):
        run.change(1, row)
        run.change(0, step % 3)
        (run.deltas.full_save if step == 4 else lambda at: run.deltas.emit(at, True, True))(step)


KEPT = {"delivered": True}


def test_rows_of_a_table_that_is_frozen_after_a_kill_are_sent_again(tmp_path: pathlib.Path) -> None:
    _killed(tmp_path)
    run = _Small(tmp_path, KEPT, frozen=True, begin=4)
    run.deltas.emit(6, True, True)
    # Row 1 of the frozen table is that of the message of step 4, the checkpoint's.
    assert run.sent(6) == {0: [0, 1, 2], 1: [5, 6, 7]}


def test_a_run_without_steps_withdraws_what_a_killed_run_sent(tmp_path: pathlib.Path) -> None:
    _killed(tmp_path)
    before = rows_in((tmp_path / "sparse_update_4").read_bytes(), _Small.variables)
    (tmp_path / "dense_update_4").unlink()
    run = _Small(tmp_path, KEPT, begin=4)
    run.deltas.end(4)
    # The message of step 4 keeps its rows, and takes those of the one that is withdrawn.
    assert [rows.keys.tolist() for rows in before.values()] == [[1, 2], [5, 6]]
    assert run.sent(4) == {0: [0, 1, 2], 1: [5, 6, 7]}
    assert (tmp_path / "dense_update_4.done").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_second_loop_of_a_run_sends_only_its_own_rows(tmp_path: pathlib.Path) -> None:
    run = _Small(tmp_path)
    run.change(0, 1)
    run.deltas.full_save(2)
    run.deltas.end(2)
    run.job.store.steps = lambda: [2]
    second = assembly._deltas(run.job, {})
    second.begin(2)
    run.change(1, 5)
    second.emit(4, True, True)
    assert run.sent(4) == {1: [5]}


def test_a_run_that_writes_elsewhere_sends_all_rows(tmp_path: pathlib.Path) -> None:
    first = _Small(tmp_path / "first")
    kept = first.deltas.kept()["incr_save"]
    same = _Small(tmp_path / "first", kept, begin=2)
    same.deltas.emit(4, False, True)
    assert not (tmp_path / "first/sparse_update_4").exists()
    other = _Small(tmp_path / "other", kept, begin=2)
    other.deltas.emit(4, False, True)
    assert other.sent(4) == {0: [0, 1, 2], 1: list(range(9))}


def test_a_full_disk_doesnt_prevent_checkpoints(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = _Small(tmp_path)

    def full(*given: object) -> str:
        raise WriteError("can't write it: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(DeltaFolder, "write", full)
        run.change(1, 5)
        run.deltas.full_save(2)
        assert "No space left on device; the next delta will contain these changes" in caplog.text
        assert not run.deltas.kept()["incr_save"]["delivered"]
        with pytest.raises(WriteError, match="No space left"):
            run.deltas.end(2)
    run.deltas.end(2)
    assert run.sent(2) == {1: [5]}
    assert (tmp_path / "dense_update_2.done").exists()
    assert run.deltas.kept()["incr_save"]["delivered"]


def test_no_message_precedes_the_checkpoint_that_a_restart_needs() -> None:
    order = list[str]()
    note = lambda name: lambda *given: order.append(name)  # noqa: E731
    parts = types.SimpleNamespace(
        group=SingleReplica(),
        step=types.SimpleNamespace(global_step=tf.constant(0)),
        deltas=types.SimpleNamespace(begin=note("begin"), end=note("end")),
        saver=types.SimpleNamespace(settle=note("on disk"), wait=list),
        schedule=types.SimpleNamespace(next_call=note("call")),
        evaluate=None,
        at_end=(),
    )
    loop = Loop(parts, BEGINNING)
    loop._saved_step, loop._save = 0, note("save")
    loop.run()
    assert order == ["begin", "save", "on disk", "call", "end"]


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


def test_kafka_delivers_in_order_or_says_so(
    tmp_path: pathlib.Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = pytest.importorskip("confluent_kafka")
    monkeypatch.setenv("KAFKA_MAX_REQ_SIZE", "4200")
    journal = DeltaFolder(tmp_path / "incr_save", hidden=True)
    server = types.SimpleNamespace(server=broker.server, topic="deltas")
    broker.create("deltas")
    topic = DeltaTopic(server, journal, keep=False)
    topic.prepare(TABLES)
    journal.claim(TABLES, 0)
    rows = _rows(0)
    topic.send_dense(3, [(0, np.ones((2, 3), np.float32))], 0)
    topic.send_rows(3, [(0, rows), (1, _rows(1, 5, 4))], 0)
    consumer = kafka.Consumer({"bootstrap.servers": broker.server, "group.id": "x"})
    consumer.assign([kafka.TopicPartition("deltas", 0, 0)])
    found = []
    while True:
        message = consumer.poll(1)
        if message is None:
            break
        assert message.error() is None
        found.append((message.key().decode(), message.value()))
    consumer.close()
    assert found[0][0] == "dense_update_3"
    assert {key for key, _ in found[1:]} == {"sparse_update_3"}
    merged = [rows_in(value, TABLES) for _, value in found[1:]]
    assert np.concatenate([m[0].keys for m in merged if 0 in m]).tolist() == rows.keys.tolist()
    # What was sent is known to the run that continues.
    owed = DeltaFolder(tmp_path / "incr_save", hidden=True).claim(TABLES, 2)
    assert owed is not None
    assert owed[0].tolist() == rows.keys.tolist()

    monkeypatch.setenv("KAFKA_TIMEOUT", "1")
    gone = DeltaTopic(types.SimpleNamespace(server="127.0.0.1:1", topic="deltas"), journal, keep=False)
    gone._producer = kafka.Producer(
        {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 500, "log_level": 0}
    )
    with pytest.raises(StorageError, match=r"deltas of 127[.]0[.]0[.]1:1: sparse_update_4"):
        gone.send_rows(4, [(0, rows)], 0)

    # A signal to stop leaves time to save.
    monkeypatch.setenv("KAFKA_TIMEOUT", "600")
    monkeypatch.setattr(delta_topic, "_SECONDS_AFTER_SIGNAL", 0.1)
    gone = DeltaTopic(
        types.SimpleNamespace(server="127.0.0.1:1", topic="deltas"), journal, False, lambda: True
    )
    gone._producer = kafka.Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    with pytest.raises(StorageError, match="sparse_update_5: not delivered before the run has to stop"):
        gone.send_rows(5, [(0, rows)], 0)
