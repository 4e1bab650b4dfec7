"""Exports during a run and at its end, and the best checkpoint that is kept."""

from __future__ import annotations

import json
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf
from multirank.launch import start
from small_job import SmallJob, write_data

from hvdrec.checkpoint.store import Store
from hvdrec.config import load
from hvdrec.config.protos import eval_pb2, export_pb2
from hvdrec.errors import ConfigError
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving.saved_model import versions
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.throttle import EvalThrottle
from hvdrec.trainer.watch.events import read_scalars
from hvdrec.trainer.watch.exporters import Best, RunExports


@pytest.fixture
def job(tmp_path: pathlib.Path) -> SmallJob:
    """A job with four checkpoints."""
    write_data(tmp_path / "train.csv", 320)
    write_data(tmp_path / "eval.csv", 100, seed=1)
    return SmallJob(
        tmp_path / "train.csv",
        tmp_path / "model",
        model="FM",
        evaluation=tmp_path / "eval.csv",
        steps=8,
        train_extra="steps_per_call: 2",
    )


def _train(job: SmallJob, **changes: object) -> Job:
    config = load(str(job.write(job.model_dir.parent / "job.config")))
    config.proto.train_config.save_checkpoints_steps = 2
    for name, value in changes.items():
        setattr(config.proto.eval_config, name, value)
    trained = Job(config, SingleReplica())
    trained.train(False, 0)
    return trained


def _auc_by_step(model_dir: pathlib.Path) -> dict[int, float]:
    lines = (model_dir / "logs" / "rank-0.jsonl").read_text().splitlines()
    return {r["step"]: r["auc"] for r in map(json.loads, lines) if r["kind"] == "eval"}


def test_best_keeps_its_checkpoint_and_its_export(job: SmallJob) -> None:
    job.export = 'exporter_type: "best" exports_to_keep: 2'
    trained = _train(job)
    aucs = _auc_by_step(job.model_dir)
    assert list(aucs) == [2, 4, 6, 8]
    bests = [s for s, auc in aucs.items() if auc > max([0.0, *(a for t, a in aucs.items() if t < s)])]
    store = Store(str(job.model_dir / "best_ckpt"))
    assert store.steps() == bests[-2:]
    record = json.loads((job.model_dir / "best_ckpt" / "best.json").read_text())
    kept = job.model_dir / "best_ckpt" / f"model.ckpt-{record['step']}"
    assert trained.exports is not None
    best = f"best: auc {record['value']:.4f} at step {record['step']}, kept as {kept}"
    assert trained.exports.best() == f"{best}, exported to {job.model_dir}/export/best"
    assert (record["step"], record["value"]) == (bests[-1], aucs[bests[-1]])
    assert len(versions(job.model_dir / "export" / "best")) == len(bests[-2:])
    # It stays when the run's own checkpoints go, and is whole.
    for path in job.model_dir.glob("model.ckpt-*"):
        path.unlink()
    assert store.latest() == str(job.model_dir / "best_ckpt" / f"model.ckpt-{bests[-1]}")
    assert tf.train.latest_checkpoint(str(job.model_dir / "best_ckpt")) == store.latest()
    store.restore(store.latest(), trained.entries())


def test_latest_follows_every_evaluation(job: SmallJob) -> None:
    job.export = 'exporter_type: "latest"'
    trained = _train(job)
    (version,) = versions(job.model_dir / "export" / "latest")
    served = tf.saved_model.load(str(job.model_dir / "export" / "latest" / str(version)))
    bank = trained.recommender.banks[0].variable
    assert any(
        v.shape == bank.shape and np.array_equal(v, bank)
        for v in served.signatures["serving_default"].variables
    )


def test_the_best_so_far_survives_a_restart(tmp_path: pathlib.Path) -> None:
    export = export_pb2.ExportConfig(exporter_type="best")
    checkpoints = Store(str(tmp_path))
    step = tf.Variable(1, dtype=tf.int64)
    from hvdrec.checkpoint.names import SavedTensor

    for number in (3, 5):
        checkpoints.save(number, [SavedTensor("global_step", step, None)], {})
    best = Best(export, checkpoints)
    assert best.is_better(3, {"auc": 0.7})
    assert not best.is_better(3, {"auc": float("nan")})
    best.keep(3)
    best.remember(3, 0.7)
    again = Best(export, checkpoints)
    assert not again.is_better(5, {"auc": 0.7})
    assert again.is_better(5, {"auc": 0.71})
    again.keep(5)
    again.keep(5)
    assert Store(str(tmp_path / "best_ckpt")).steps() == [5]
    assert Store(str(tmp_path / "best_ckpt")).latest() is not None
    smaller = Best(export_pb2.ExportConfig(best_exporter_metric="loss", metric_bigger=False), checkpoints)
    assert smaller.is_better(5, {"loss": 9.0})


def test_a_run_of_easyrec_has_its_best_in_the_events(tmp_path: pathlib.Path) -> None:
    writer = tf.summary.create_file_writer(str(tmp_path / "eval_val"))
    with writer.as_default():
        for step, auc in ((10, 0.6), (20, 0.8), (30, 0.7)):
            tf.summary.scalar("auc", auc, step=step)
            event = tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag="old", simple_value=auc)])
            tf.summary.experimental.write_raw_pb(event.SerializeToString(), step=step)
    writer.close()
    assert read_scalars(str(tmp_path / "eval_val"), "old") == pytest.approx({10: 0.6, 20: 0.8, 30: 0.7})
    best = Best(export_pb2.ExportConfig(), Store(str(tmp_path)))
    assert not best.is_better(30, {"auc": 0.79})
    assert best.is_better(30, {"auc": 0.81})
    assert best.is_better(20, {"auc": 0.79})


def test_mistakes_are_told_before_training(job: SmallJob) -> None:
    job.export = 'exporter_type: "best" best_exporter_metric: "auuc"'
    with pytest.raises(
        ConfigError,
        match=r"job.config:\d+: export_config.best_exporter_metric: evaluations have no 'auuc'; use one of auc, gauc, ",
    ):
        _train(job)
    assert not list(job.model_dir.glob("model.ckpt-*"))


def test_an_export_nobody_asked_for_is_no_reason_to_fail(
    job: SmallJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr("hvdrec.trainer.watch.exporters.ServingModule", refuse)
    job.export = ""
    config = load(str(job.write(job.model_dir.parent / "job.config")))
    made = Job(config, SingleReplica())
    assert RunExports(config, made.folder, made.recommender, made.store, ["auc"]).at_end() is None
    for asked in ({"exporter_type": "final"}, {"asset_files": ["words.txt"]}):
        config.proto.export_config.CopyFrom(export_pb2.ExportConfig(**asked))
        with pytest.raises(ConfigError):
            RunExports(config, made.folder, made.recommender, made.store, ["auc"])


def test_evaluations_kept_apart(job: SmallJob) -> None:
    _train(job, eval_interval_secs=3600)
    assert list(_auc_by_step(job.model_dir)) == [2, 8]
    job.model_dir = job.model_dir.with_name("other")
    _train(job, max_evals=2)
    assert list(_auc_by_step(job.model_dir)) == [2, 4, 8]
    assert EvalThrottle(eval_pb2.EvalConfig()).unlimited


def test_final_export_of_a_run(job: SmallJob) -> None:
    job.export = ""
    path = job.write(job.model_dir.parent / "job.config")
    done = start("plain", 1, ["-m", "hvdrec.train", "--pipeline_config_path", str(path)])
    assert done.returncode == 0, done.stderr
    (version,) = versions(job.model_dir / "export" / "final")
    assert f"exported: {job.model_dir}/export/final/{version}" in done.stdout


def test_a_step_is_exported_when_its_checkpoint_is_on_disk() -> None:
    """A run that is killed must not go back before what services have loaded."""
    order = list[str]()
    exports = RunExports.__new__(RunExports)
    exports._kind, exports._best, exports._keep = "latest", None, 1
    exports._exporter = types.SimpleNamespace(export=lambda *given: order.append("export"))
    exports.after_evaluation(4, {}, lambda: order.append("on disk"))
    assert order == ["on disk", "export"]
