"""Deltas of tables without a fixed size: ids that are new, changed or removed, and a service that applies them."""

from __future__ import annotations

import contextlib
import pathlib
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from small_job import SmallJob, write_data
from trainer.watch.test_deltas import Follower, _assert_follows, _tables, load_fs

from hvdrec.checkpoint.deltas import ANY_ROWS, REMOVES_ALL, DeltaFolder, Rows, Variables, rows_in
from hvdrec.config import load
from hvdrec.errors import ConfigError, DamagedError
from hvdrec.features.plan import TableRules
from hvdrec.layers import initializers, memory
from hvdrec.layers.banks.dynamic import DynamicBank
from hvdrec.layers.banks.key_table import KeyTable
from hvdrec.layers.banks.strategy import BankLayout, BankTable
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.serving.updates import Updates, variables_of
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.changes import IdChanges
from hvdrec.trainer.watch.deltas import DeltaPlaces, Deltas, delta_assets

DIM = 2
EVERYTHING = [2**40 + 3, 7, 0, 1, 2, 3, 4, 5, 2**63 - 2]


def _bank() -> DynamicBank:
    """Two tables, of which the second has a filter; ids are forgotten after three steps."""
    tables = [
        BankTable(name, 4, initializers.glorot_uniform, TableRules(freq, 3))
        for name, freq in (("a", 0), ("b", 1))
    ]
    return DynamicBank(BankLayout("bank", DIM, tuple(tables)), 0)


class _Run:
    """A run whose only bank is such a one, and a service that has an export of its beginning."""

    def __init__(self, folder: pathlib.Path, kept: dict[str, object] | None = None) -> None:
        self.bank, self.step, self.rng = _bank(), 0, np.random.default_rng(3)
        self.bank.now = lambda: self.step
        self.folder = folder
        self.recommender = types.SimpleNamespace(
            banks=(self.bank,), store=types.SimpleNamespace(variables_by_name={})
        )
        config = types.SimpleNamespace(
            dense_save_steps=0, sparse_save_steps=1, dense_save_secs=0, sparse_save_secs=0
        )
        optimizer = types.SimpleNamespace(averaged=lambda: contextlib.nullcontext())
        self.deltas = Deltas(
            config,
            self.recommender,
            optimizer,
            SingleReplica(),
            types.SimpleNamespace(steps=lambda: [0]),
            DeltaPlaces(load_fs(str(folder)), str(folder), False, True),
            {} if kept is None else {"incr_save": kept},
            kept is not None,
        )

    def train(self, ids: dict[int, list[int]]) -> None:
        """A step that sees and changes ids, by table."""
        tables = np.repeat(list(ids), [len(v) for v in ids.values()]).astype(np.int32)
        keys = np.array([key for found in ids.values() for key in found], np.int64)
        self.bank.see(tables, keys, np.ones(len(keys), np.int32), self.step)
        self.bank.begin_rows()
        rows = self.bank.rows(tables, keys, self.step, False)
        values = self.rng.normal(size=(len(rows), DIM)).astype(np.float32)
        self.bank.variable.scatter_update(tf.IndexedSlices(values, rows))
        self.step += 1

    def state(self) -> list[dict[int, list[float]]]:
        """The values of the ids of each table."""
        found = []
        for table in range(2):
            keys, _, _, rows = self.bank.ids(table, True)
            found.append(dict(zip(keys.tolist(), self.bank.gather(rows).numpy().tolist(), strict=True)))
        return found

    def sent(self, step: int) -> dict[int, Rows]:
        return rows_in((self.folder / f"sparse_update_{step}").read_bytes(), variables_of(self.recommender))


class _Service:
    """What applies messages: the signatures of an export, and a plain model of what they do."""

    def __init__(self, run: _Run) -> None:
        bank = _bank()
        bank.load(run.bank.dump())
        bank.variable.assign(run.bank.variable)
        bank.now = lambda step=run.step: step
        self.tables, self.plain = [KeyTable(bank, t) for t in range(2)], run.state()
        self.bank, recommender = bank, types.SimpleNamespace(banks=(bank,), store=run.recommender.store)
        self.module = Updates(recommender, {(0, t): table for t, table in enumerate(self.tables)})
        self.update = self.module.signatures()["incr_update_rows"]

    def apply(self, message: dict[int, Rows]) -> None:
        for number, (keys, values) in message.items():
            assert (keys[1:] > keys[:-1]).all()
            self.update(
                id=tf.constant(number), keys=tf.constant(keys), values=tf.constant(values.reshape(-1))
            )
            if (keys == REMOVES_ALL).any():
                self.plain[number] = {}
            for key, value in zip(keys.tolist(), values.tolist(), strict=True):
                if key < 0:
                    self.plain[number].pop(~key, None)
                else:
                    self.plain[number][key] = value

    def state(self) -> list[dict[int, list[float]]]:
        """The values that the ids of each table have, as requests find them."""
        found = []
        for table, plain in zip(self.tables, self.plain, strict=True):
            keys, rows = table.entries()
            ids = keys.numpy()[keys.numpy() < 2**63 - 1]
            assert len(set(rows.numpy()[: len(ids)])) == len(ids)
            values = tf.gather(self.bank.variable, table.rows(tf.constant(ids))).numpy()
            found.append(dict(zip(ids.tolist(), values.tolist(), strict=True)))
            assert found[-1] == plain
        return found


def test_a_service_has_the_ids_of_the_run_whatever_happens_to_them(tmp_path: pathlib.Path) -> None:
    """Ids come, change, go and return; the service applies all messages, or after a save only the newest."""
    run = _Run(tmp_path)
    run.train({0: [1, 2**40 + 3], 1: [2]})
    run.deltas.begin(run.step)
    service, late = _Service(run), None
    rng = np.random.default_rng(0)
    for step in range(1, 30):
        # Up to seven hundred ids of the second table, so that rows are taken from an export's room and beyond it.
        many = rng.choice(3000, 700, replace=False) if step % 6 == 5 else rng.choice(9, 3, replace=False)
        run.train({0: rng.choice(EVERYTHING, 3, replace=False).tolist(), 1: many.tolist()})
        if step % 5 == 0:
            run.bank.evict()
        if step % 7 == 0:
            run.deltas.full_save(run.step)
            late = _Service(run)
        elif step % 3:
            run.deltas.emit(run.step, False, True)
        if (run.folder / f"sparse_update_{run.step}").exists():
            service.apply(run.sent(run.step))
            assert service.state() == run.state()
    assert late is not None
    late.apply(run.sent(run.step))
    assert late.state() == run.state()
    # Rows of removed ids are used again.
    assert int(service.bank.variable.shape[0] or tf.shape(service.bank.variable)[0]) <= 4096


def test_removed_ids_are_their_complements_with_zeros(tmp_path: pathlib.Path) -> None:
    run = _Run(tmp_path)
    run.train({0: [5, 9], 1: [5]})
    run.deltas.begin(run.step)
    run.train({0: [9, 11]})
    run.step += 2
    run.deltas.emit(run.step, False, True)
    found = run.sent(run.step)
    assert found[0].keys.tolist() == [~5, 9, 11]
    assert found[0].values[0].tolist() == [0, 0]
    assert found[1].keys.tolist() == [~5]
    # It was seen again, and has a row again.
    run.train({0: [5, 9, 11]})
    run.deltas.emit(run.step, False, True)
    assert run.sent(run.step)[0].keys.tolist() == [5, 9, 11]
    assert variables_of(run.recommender).tables == (("a", (ANY_ROWS, DIM)), ("b", (ANY_ROWS, DIM)))


def test_what_a_killed_run_sent_is_corrected(tmp_path: pathlib.Path) -> None:
    """A service that has followed the killed run has no ids that the next one never had."""
    killed = _Run(tmp_path)
    killed.train({0: [1, 2, 3], 1: [4]})
    killed.deltas.begin(1)
    killed.deltas.full_save(1)
    checkpoint = killed.bank.dump(), killed.bank.variable.numpy()
    service = _Service(killed)
    killed.train({0: [1, 77], 1: [88]})
    killed.deltas.emit(2, False, True)
    service.apply(killed.sent(2))

    run = _Run(tmp_path, {"delivered": True})
    run.bank.load(checkpoint[0])
    run.bank.variable.assign(checkpoint[1])
    run.step = 1
    run.deltas.begin(1)
    run.train({0: [2]})
    run.deltas.emit(2, False, True)
    found = run.sent(2)
    assert found[0].keys.tolist() == [~77, 1, 2]
    assert found[1].keys.tolist() == [~88]
    service.apply(found)
    assert service.state() == run.state()


def test_all_ids_are_sent_where_nobody_knows_what_a_service_has(tmp_path: pathlib.Path) -> None:
    first = _Run(tmp_path)
    first.train({0: [1, 2], 1: [3]})
    first.deltas.begin(1)
    service = _Service(first)
    run = _Run(tmp_path, {"delivered": False})
    run.train({0: [2, 8], 1: [5]})
    run.deltas.begin(1)
    run.deltas.emit(2, False, True)
    assert run.sent(2)[0].keys.tolist() == [REMOVES_ALL, 2, 8]
    service.apply(run.sent(2))
    assert service.state() == run.state()
    # Delivered once.
    run.train({0: [8]})
    run.deltas.emit(3, False, True)
    assert {number: rows.keys.tolist() for number, rows in run.sent(3).items()} == {0: [8]}

    # Killed after that, and continued from before: the ids of both messages have to be corrected.
    again = _Run(tmp_path, {"delivered": True})
    again.train({0: [6], 1: [5]})
    again.deltas.begin(0)
    again.deltas.emit(4, False, True)
    assert again.sent(4)[0].keys.tolist() == [REMOVES_ALL, ~8, ~2, 6]
    service.apply(again.sent(4))
    assert service.state() == again.state()
    assert not list(tmp_path.glob(".withdrawn*"))


def test_a_message_with_wrong_keys_changes_nothing(tmp_path: pathlib.Path) -> None:
    run = _Run(tmp_path)
    run.train({0: [1], 1: [2]})
    service, before = _Service(run), run.state()
    for keys in ([2, 2], [3, 2], [2**63 - 1], [1, 2, 2**63 - 1]):
        values = tf.zeros([DIM * len(keys)])
        with pytest.raises(tf.errors.InvalidArgumentError, match="ascending"):
            service.update(id=tf.constant(0), keys=tf.constant(keys, tf.int64), values=values)
    assert service.state() == before
    tables = Variables((), (("a", (ANY_ROWS, 1)),))
    head = np.array([1, 1, 0, 0, 1], np.int32).tobytes()
    with pytest.raises(DamagedError, match="no id in table 0"):
        rows_in(head + np.array([2**63 - 1], np.int64).tobytes() + b"\0\0\0\0", tables)


def test_a_copy_that_memory_cant_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = _bank()
    monkeypatch.setattr(memory, "limits", lambda *_: [memory.Limit(160, "this machine has")])
    changes = IdChanges(bank)
    bank.see(np.zeros(30, np.int32), np.arange(30), np.ones(30, np.int32), 0)
    bank.begin_rows()
    wanted = (
        "the copy of a, b that incr_save_config compares with would take 304 bytes, and this machine has 160"
    )
    with pytest.raises(ConfigError, match=wanted):
        changes.look()


def _job(folder: pathlib.Path, data: str) -> Job:
    ev = "ev_params { filter_freq: 2 steps_to_live: 2 }"
    extra = "save_checkpoints_steps: 6 incr_save_config { dense_save_steps: 4 sparse_save_steps: 4 fs {} }"
    made = SmallJob(
        folder / data, folder / "run", model="MultiTower", steps=12, train_extra=extra, model_extra=ev
    )
    path = folder / "run.config"
    path.write_text(re.sub("save_checkpoints_steps: 1000", "", made.text()))
    return Job(load(str(path)), SingleReplica())


def test_a_service_follows_a_run_and_the_run_that_continues_after_a_kill(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "train.csv", 400)
    write_data(tmp_path / "other.csv", 400, seed=5)
    job = _job(tmp_path, "train.csv")
    texts = delta_assets(job.proto, job.recommender, 0, str(tmp_path / "run"))
    base = saved_model.write(
        ServingModule(job.proto, job.recommender), tmp_path / "export", job.proto, texts=texts
    )
    follower = Follower(base)
    job.train(False, 0)

    # Exactly the ids whose rows differ between the checkpoints.
    before, after, variables = _tables(tmp_path, 6), _tables(tmp_path, 12), variables_of(job.recommender)
    path = tmp_path / "run/incr_save/sparse_update_12"
    found = rows_in(path.read_bytes(), variables)
    removed = 0
    for number, (name, _) in enumerate(variables.tables):
        old, new = (
            {k: v.tobytes() for k, v in zip(t[f"{name}/keys"].tolist(), t[name], strict=True)}
            for t in (before, after)
        )
        changed = sorted(k for k, v in new.items() if old.get(k) != v)
        gone = sorted(~k for k in old if k not in new)
        keys, values = found.get(number, Rows(np.zeros(0, np.int64), np.zeros(0, np.float32)))
        # An id that came and went is removed too; a service may have an export between.
        assert set(gone) <= set(keys[keys < 0].tolist())
        assert not {~k for k in keys[keys < 0].tolist()} & new.keys()
        assert set(changed) <= set(keys[keys >= 0].tolist()) <= new.keys()
        assert [v.tobytes() for v in values[keys >= 0]] == [new[k] for k in keys[keys >= 0].tolist()]
        removed += len(gone)
    assert removed
    _assert_follows(follower, job, tmp_path, 12, "train.csv")

    # As if it had been killed before the checkpoint of step 12, and continued with other rows.
    for path in (tmp_path / "run").glob("model.ckpt-12.*"):
        path.unlink()
    again = _job(tmp_path, "other.csv")
    again.train(True, 0)
    _assert_follows(follower, again, tmp_path, 12, "train.csv")
    assert not list((tmp_path / "run/incr_save").glob(".*"))
    DeltaFolder(tmp_path / "run/incr_save").check(variables, resumed=True)
