"""Whole jobs with tables without a fixed size (`ev_params`)."""

from __future__ import annotations

import pathlib
import re
import signal

import numpy as np
import pytest
from serving.exported import predict_bare, trainers_predictions, typed_request
from small_job import SmallJob, write_data
from trainer.stopping import assert_same_bits, tensors, train

from hvdrec.config import Config, load
from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.job import Job

RATE = "learning_rate { constant_learning_rate { learning_rate: 0.02 } }"
ASYNC, ADAM = f"adam_async_optimizer {{ {RATE} }}", f"adam_optimizer {{ {RATE} }}"
COLUMNS = ("label", "a", "b", "c", "tags", "x", "y", "uid", "weight")
A = "input_layer/a_embedding/embedding_weights"


def _config(folder: pathlib.Path, name: str, ev: str, **changes: object) -> str:
    """A job on ids that don't meet in a bucket, with tables that begin with the same number everywhere."""
    if not (folder / "train.csv").exists():
        write_data(folder / "train.csv", 600)
        write_data(folder / "eval.csv", 90, seed=1)
        with open(folder / "eval.csv", "a", encoding="utf-8") as file:
            file.write("1,never seen,b3,7,t1|nothing,0.5,1,u1,1\n0,,,-1,,0,0,,1\n")
    values: dict[str, object] = {
        "model": "MultiTower",
        "evaluation": folder / "eval.csv",
        "steps": 40,
        "batch_norm": False,
        "optimizer": ASYNC,
        "train_extra": "steps_per_call: 4",
        "model_extra": f"embedding_regularization: 1e-4 {ev}",
        **changes,
    }
    text = SmallJob(folder / "train.csv", folder / name, **values).text()  # type: ignore[arg-type]
    start = "initializer { constant_initializer { consts: 0.03 } }"
    text = re.sub(r"hash_bucket_size: (\d+)", rf"hash_bucket_size: \g<1>013 {start}", text)
    text = text.replace("num_buckets: 10", f"num_buckets: 12 {start}")
    path = folder / f"{name}.config"
    path.write_text(text.replace("save_checkpoints_steps: 1000", "save_checkpoints_steps: 20"))
    return str(path)


@pytest.mark.parametrize("optimizer", [ASYNC, ADAM])
def test_weights_are_those_of_tables_with_a_row_for_each_id(tmp_path: pathlib.Path, optimizer: str) -> None:
    """Rows begin when their id is first seen, and are then trained as any: to the bit."""
    clip = "steps_per_call: 4 gradient_clipping_by_norm: 0.1 row_updates: SWEEP"
    results, found = {}, {}
    for name, ev in (("fixed", ""), ("dynamic", "ev_params {}")):
        path = _config(tmp_path, name, ev, optimizer=optimizer, train_extra=clip)
        results[name] = Job(load(path), SingleReplica()).train(False, verify=3)
        found[name] = tensors(f"{tmp_path}/{name}/model.ckpt-40")
    fixed, dynamic = found["fixed"], found["dynamic"]
    dense = [key for key in fixed if "/embedding_weights" not in key]
    assert len(dense) > 10
    for key in dense:
        np.testing.assert_array_equal(dynamic[key], fixed[key], err_msg=key)
    assert results["dynamic"] == results["fixed"]
    # By hash: the remainder by the number of buckets, from which the whole key can't be told; by number: itself.
    numbers = "input_layer_1/c_embedding/embedding_weights"
    keys = dynamic[f"{numbers}/keys"]
    assert list(keys) == sorted(set(keys)) == list(range(12))
    for slot in ("", "/AdamAsync", "/AdamAsync_1") if optimizer == ASYNC else ("", "/Adam", "/Adam_1"):
        np.testing.assert_array_equal(dynamic[numbers + slot], fixed[numbers + slot][keys])
    trained = np.flatnonzero(
        (fixed[A] != fixed[A][0]).any(axis=1) | (fixed[A] != np.float32(0.03)).any(axis=1)
    )
    np.testing.assert_array_equal(
        np.sort(dynamic[A], axis=0), np.sort(fixed[A][trained], axis=0), err_msg="other rows of hashed ids"
    )
    assert (dynamic[f"{A}/freqs"] > 0).all()
    assert dynamic[f"{A}/keys"].max() > 2**31


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a run whose ids come and go, and the same run, stopped and resumed."""
    folder = tmp_path_factory.mktemp("filtered")
    ev = "ev_params { filter_freq: 3 steps_to_live: 6 }"
    train(_config(folder, "whole", ev), SingleReplica())
    _, codes = train(
        _config(folder, "stopped", ev), SingleReplica(), [(7, 0, signal.SIGTERM), (26, 0, signal.SIGINT)]
    )
    assert codes == [143, 130]
    return folder


def test_a_resumed_run_has_the_same_bits(filtered: pathlib.Path) -> None:
    """Whenever it saves: what a save removes counts as never seen in the other run too."""
    for step in (20, 40):
        assert_same_bits(f"{filtered}/whole/model.ckpt-{step}", f"{filtered}/stopped/model.ckpt-{step}")


def test_ids_are_admitted_and_forgotten(filtered: pathlib.Path) -> None:
    """The ids of a checkpoint against those of a plain count over the rows of the file."""
    rows = [line.split(",") for line in (filtered / "train.csv").read_text().splitlines()]
    seen: dict[int, list[int]] = {}
    for step in range(40):
        batch = [int(rows[i % len(rows)][3]) for i in range(32 * step, 32 * (step + 1))]
        for number in (n for n in batch if n >= 0):
            freq, last = seen.get(number, [0, step])
            seen[number] = [1 if step - last > 6 else freq + 1, step]
    alive = {n: (f, last) for n, (f, last) in seen.items() if 40 - last <= 6}
    found = tensors(f"{filtered}/whole/model.ckpt-40")
    name = "input_layer_1/c_embedding/embedding_weights"
    for suffix, wanted in (
        ("", [n for n in alive if alive[n][0] >= 3]),
        ("_filtered", [n for n in alive if alive[n][0] < 3]),
    ):
        assert list(found[f"{name}/keys{suffix}"]) == sorted(wanted)
        assert list(found[f"{name}/freqs{suffix}"]) == [alive[n][0] for n in sorted(wanted)]
        assert list(found[f"{name}/versions{suffix}"]) == [alive[n][1] for n in sorted(wanted)]
    crosses = "input_layer_1/a_x_b_embedding/embedding_weights"
    assert len(found[f"{crosses}/keys_filtered"]) > len(found[f"{crosses}/keys"]) > 0
    assert found[crosses].shape == (len(found[f"{crosses}/keys"]), 4)


def _served(config: Config, folder: pathlib.Path, data: pathlib.Path) -> None:
    """Compares an exported model in a bare process with the trainer's predictions."""
    job = Job(config, SingleReplica())
    job.store.restore_newest(lambda prefix: job.entries())
    version = saved_model.write(ServingModule(config.proto, job.recommender), folder / "out", config.proto)
    cells = [line.split(",") for line in data.read_text().splitlines()]
    columns = {name: [row[i] for row in cells] for i, name in enumerate(COLUMNS)}
    given = {i.name for i in ServingModule(config.proto, job.recommender).inputs}
    request = typed_request(config.proto, {n: c for n, c in columns.items() if n in given})
    expected = trainers_predictions(job, data)
    found = predict_bare(folder, {"model": (version, request)})["model"]
    assert np.ptp(expected["logits"]) > 0.0
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-6, atol=1e-6)


def test_an_exported_model_finds_the_rows(filtered: pathlib.Path) -> None:
    _served(load(f"{filtered}/whole.config"), filtered, filtered / "eval.csv")


def test_unknown_ids_have_initial_values_without_a_filter(tmp_path: pathlib.Path) -> None:
    """As in DeepRec; with a filter they have zeros, like ids that wait for a row."""
    path = _config(tmp_path, "one", "ev_params {}", steps=3)
    text = pathlib.Path(path).read_text()
    pathlib.Path(path).write_text(re.sub(r"initializer \{[^}]*\} \}", "", text))
    job = Job(load(path), SingleReplica())
    job.train(False, 0)
    _served(load(path), tmp_path, tmp_path / "eval.csv")
    bank = job.rows.banks[0]
    number = [table.name for table in bank.layout.tables].index(A)
    rows = bank.rows(np.array([number], np.int32), np.array([2**60 + 5]), 3, True)
    first = sum(table.rows for table in bank.layout.tables[:number])
    assert list(rows) == [first + (2**60 + 5) % 4096]
    assert np.abs(bank.gather(rows).numpy()).max() > 0


def test_another_run_begins_with_its_rows(filtered: pathlib.Path) -> None:
    """Fine-tuning takes ids, rows and slots; steps are counted anew."""
    extra = f'fine_tune_checkpoint: "{filtered}/whole/model.ckpt-40"'
    ev = "ev_params { filter_freq: 3 steps_to_live: 6 }"
    path = _config(filtered, "tuned", ev, train_extra=extra, steps=1)
    job = Job(load(path), SingleReplica())
    job.train(False, 0)
    before, after = (tensors(f"{filtered}/{n}") for n in ("whole/model.ckpt-40", "tuned/model.ckpt-1"))
    name = "input_layer_1/a_x_b_embedding/embedding_weights"
    assert set(before[f"{name}/keys"]) <= set(after[f"{name}/keys"])
    kept = np.isin(after[f"{name}/keys"], before[f"{name}/keys"])
    same = (after[name][kept] == before[name]).all(axis=1)
    assert same.any()
    assert set(after[f"{name}/versions"]) == {0}
    fixed = _config(filtered, "fixed", "", train_extra=extra, steps=1)
    Job(load(fixed), SingleReplica()).train(False, 0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"train_extra": "train_distribute: EmbeddingParallelStrategy"}, "train_config.train_distribute"),
        ({"train_extra": "train_distribute: PSStrategy"}, "train_config.train_distribute"),
        ({"train_extra": "row_updates: DEFERRED"}, "train_config.row_updates"),
        ({"train_extra": "sparse_reduce: DENSE"}, "train_config.sparse_reduce"),
        ({"optimizer": f"{ADAM} use_moving_average: true"}, "use_moving_average"),
    ],
)
def test_what_is_refused(tmp_path: pathlib.Path, changes: dict[str, object], field: str) -> None:
    from hvdrec.config.checks.check import check

    config = load(_config(tmp_path, "refused", "ev_params {}", **changes))
    with pytest.raises(ConfigError, match=f"{field}.*without a fixed size .model_config.ev_params."):
        check(config)
