"""Whole runs from and to a store: trained, killed, continued, exported, used for prediction."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
import tensorflow as tf
from multirank.launch import _ROOT, command
from small_job import SmallJob, write_data
from storage import running
from storage.server import SECRET, environment
from trainer.stopping import assert_same_bits

from hvdrec import storage

#: Faults that every run here has to bear, on any request.
FAULTS = ("slow_down", "reset", "cut")


def put_job(store, tmp_path, **fields):
    """Puts data and config into the store."""
    for name, rows, seed in (("train.csv", 300, 0), ("eval.csv", 60, 1)):
        write_data(tmp_path / name, rows, seed)
        storage.upload(tmp_path / name, f"{store}/{name}")
    job = SmallJob(f"{store}/train.csv", f"{store}/run", model="FM", evaluation=f"{store}/eval.csv", **fields)
    storage.write_text(f"{store}/x.config", job.text())
    return job


def variables(address, tmp_path, **more):
    work = tmp_path / "work"
    found = environment(address, HVDREC_WORK_DIR=str(work), HVDREC_STORE_PATIENCE="30", **more)
    return {k: v for k, v in found.items() if k.startswith(("AWS_", "HVDREC_"))}


def run(module, ranks, flags, variables):
    return running.run(module, ranks, flags, variables, SECRET)


def ok(module, ranks, flags, variables):
    return running.ok(module, ranks, flags, variables, SECRET)


def kill_after_saving(store, step, flags, variables):
    """Starts a run and kills it once a step's checkpoint is committed."""
    inherited = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])}
    arguments = ["-m", "hvdrec.train", *flags]
    with subprocess.Popen(
        command("plain", 1, arguments),
        env={**inherited, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and not storage.exists(f"{store}/run/model.ckpt-{step}.committed"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"


def test_trained_killed_gone_on_with_exported_and_predicted(store, server, proxy, tmp_path):
    steps = 60
    fields = {"steps": steps, "data_extra": "shuffle: true shuffle_buffer_size: 100"}
    job = put_job(
        store,
        tmp_path,
        train_extra="save_checkpoints_steps: 6 keep_checkpoint_max: 3",
        export='exporter_type: "best" exports_to_keep: 1',
        **fields,
    )
    flags = ["--pipeline_config_path", f"{store}/x.config"]
    variables_ = variables(proxy.address, tmp_path)
    kill_after_saving(store, 12, flags, variables_)
    assert list((tmp_path / "work").iterdir()), "what a killed run leaves is its working folder"
    refused = run("train", 1, flags, variables_)
    assert refused.returncode == 2
    assert f"{store}/run already contains checkpoints" in refused.stderr
    # More in a row than Arrow's client bears by itself.
    for i, fault in enumerate(FAULTS * 2):
        proxy.fail(fault, times=3, method="" if fault != "cut" else "GET", skip=15 * i)
    hpo = f"{store}/hpo.jsonl"
    done = ok("train", 1, [*flags, "--continue_train", "--hpo_metric_save_path", hpo], variables_)
    assert re.search(rf"continuing from {store}/run/model.ckpt-\d+: ", done.stderr)
    assert "again in" in done.stderr
    assert f"checkpoint: {store}/run/model.ckpt-{steps}" in done.stdout
    there = storage.listing(f"{store}/run", recursive=True)
    kept = sorted(int(n[11:-10]) for n in there if re.fullmatch(r"model\.ckpt-\d+\.committed", n))
    assert len(kept) == 3
    assert kept[-1] == steps
    for name in ("pipeline.config", "eval_result.txt", "logs/rank-0.jsonl", "best_ckpt/best.json"):
        assert name in there
    assert any(n.startswith("eval_val/events") for n in there)
    assert any(n.startswith("events") for n in there)
    assert [n.split("/")[2] for n in there if re.match(r"export/best/\d+/saved_model.pb", n)] != []
    assert ".lock" not in there
    assert json.loads(storage.read_text(hpo).splitlines()[-1])["global_step"] == steps
    assert "model_dir: " in storage.read_text(f"{store}/run/pipeline.config")
    # The bits are those of a run that was never killed, on local files.
    for name in ("index", "data-00000-of-00001"):
        storage.download(f"{store}/run/model.ckpt-{steps}.{name}", tmp_path / f"model.ckpt-{steps}.{name}")
    whole = SmallJob(tmp_path / "train.csv", tmp_path / "whole", model="FM", **fields)
    whole.evaluation = tmp_path / "eval.csv"
    assert job.steps == whole.steps
    ok("train", 1, ["--pipeline_config_path", f"file://{whole.write(tmp_path / 'w.config')}"], {})
    assert_same_bits(f"{tmp_path}/whole/model.ckpt-{steps}", f"{tmp_path}/model.ckpt-{steps}")
    exported = [
        *("--model_dir", f"{store}/run", "--export_dir", f"{store}/served", "--export_done_file", "DONE"),
        *("--checkpoint_path", f"{store}/run/model.ckpt-{kept[0]}"),
    ]
    assert f"step {kept[0]} exported to {store}/served/" in ok("export", 1, exported, variables_).stdout
    assert storage.read_text(f"{store}/served/DONE") == "ExportDone"
    rows = ["--input_path", f"{store}/eval.csv", "--output_path", f"{store}/predicted.csv"]
    ok("predict", 1, ["--saved_model_dir", f"{store}/served", *rows], variables_)
    assert len(storage.read_text(f"{store}/predicted.csv").splitlines()) == 61


def test_two_ranks(store, server, proxy, tmp_path):
    put_job(store, tmp_path, steps=12, train_extra="save_checkpoints_steps: 4")
    variables_ = variables(proxy.address, tmp_path)
    flags = ["--pipeline_config_path", f"{store}/x.config"]
    ok("train", 2, [*flags, "--train_config.num_steps", "8"], variables_)
    # The machine has asked for its bytes once, for both ranks and all epochs.
    rows = (tmp_path / "train.csv").stat().st_size
    assert proxy.sent[f"/{store.partition('://')[2]}/train.csv"] == rows
    variables_ = variables(server, tmp_path)
    done = ok("train", 2, [*flags, "--continue_train"], variables_)
    assert f"continuing from {store}/run/model.ckpt-8: " in done.stderr
    there = storage.listing(f"{store}/run", recursive=True)
    assert "model.ckpt-12.committed" in there
    assert {"logs/rank-0.jsonl", "logs/rank-1.jsonl"} <= there.keys()
    assert not list((tmp_path / "work").iterdir()), "nothing is left here once all is in the store"
    rows = [
        "--model_dir",
        f"{store}/run",
        "--input_path",
        f"{store}/eval.csv",
        "--output_path",
        f"{store}/out",
        "--batch_size",
        "16",
    ]
    ok("predict", 2, rows, variables_)
    parts = [storage.read_text(f"{store}/out/part-{rank}.csv").splitlines() for rank in (0, 1)]
    assert sum(len(part) - 1 for part in parts) == 60


_RECORDS = "save_checkpoints_steps: 4 save_summary_steps: 4 steps_per_call: 2"


def of_kind(path, kind):
    records = [json.loads(line) for line in storage.read_text(path).splitlines()]
    return [record for record in records if record["kind"] == kind]


def test_another_rank_evaluates_and_calls_are_traced(store, server, tmp_path):
    put_job(
        store,
        tmp_path,
        steps=12,
        train_extra=f"{_RECORDS} is_profiling: true",
        export='exporter_type: "best"',
    )
    flags = ["--pipeline_config_path", f"{store}/x.config", "--eval_method", "separate"]
    done = ok("train", 2, [*flags, "--train_config.log_step_count_steps", "4"], variables(server, tmp_path))
    assert [r["step"] for r in of_kind(f"{store}/run/logs/evaluator.jsonl", "eval")] == [0, 4, 8, 12]
    assert of_kind(f"{store}/run/logs/rank-0.jsonl", "eval") == []
    assert json.loads(storage.read_text(f"{store}/run/eval_result.txt"))["global_step"] == 12
    there = storage.listing(f"{store}/run", recursive=True)
    best = json.loads(storage.read_text(f"{store}/run/best_ckpt/best.json"))["step"]
    assert f"best_ckpt/model.ckpt-{best}.committed" in there
    assert len([n for n in there if re.fullmatch(r"export/best/\d+/saved_model.pb", n)]) == 1
    for step in (4, 8):
        assert f"traced steps from {step} on: {store}/run/timeline-{step}.json" in done.stderr
        assert json.loads(storage.read_text(f"{store}/run/timeline-{step}.json"))["traceEvents"]
        assert any(re.fullmatch(rf"plugins/profile/step-{step}/.*\.xplane\.pb", n) for n in there)
    # TensorBoard's events, of both, whole.
    events = [n for n in there if re.match(r"(eval_val/)?events", n)]
    assert {n.rpartition("/")[0] for n in events} == {"", "eval_val"}
    steps = []
    for n in events:
        storage.download(f"{store}/run/{n}", tmp_path / n)
        steps.append(
            {
                event.step
                for event in tf.compat.v1.train.summary_iterator(str(tmp_path / n))
                if event.HasField("summary")
            }
        )
    assert all({4, 8} <= found for found in steps)
    assert not list((tmp_path / "work").iterdir())


def test_parameter_servers(store, server, tmp_path):
    put_job(store, tmp_path, steps=12, train_extra=_RECORDS)
    flags = ["--pipeline_config_path", f"{store}/x.config"]
    variables_ = variables(server, tmp_path)
    done = ok("launch", 1, ["ps", "--workers", "1", "--ps", "1", *flags], variables_)
    assert f"checkpoint: {store}/run/model.ckpt-12" in done.stdout
    there = storage.listing(f"{store}/run", recursive=True)
    committed = {int(n[11:-10]) for n in there if re.fullmatch(r"model\.ckpt-\d+\.committed", n)}
    assert {4, 8, 12} <= committed
    assert [r["step"] for r in of_kind(f"{store}/run/logs/rank-0.jsonl", "eval")][-1] == 12
    assert any(n.startswith("events") for n in there)
    assert ".lock" not in there
    assert {"logs/chief.log", "logs/worker.log", "logs/ps.log"} <= there.keys()
    assert "saved" in storage.read_text(f"{store}/run/logs/chief.log")
    assert not (_ROOT / "s3:").exists()
    assert not list((tmp_path / "work").iterdir())
    # One process continues it.
    more = [*flags, "--continue_train", "--train_config.num_steps", "14"]
    assert f"continuing from {store}/run/model.ckpt-12: " in ok("train", 1, more, variables_).stderr


def test_a_store_that_goes_for_good(store, server, proxy, tmp_path):
    put_job(store, tmp_path, steps=200, train_extra="save_checkpoints_steps: 10")
    variables_ = variables(proxy.address, tmp_path) | {"HVDREC_STORE_PATIENCE": "1"}
    # After two whole checkpoints; rows and events still pass.
    proxy.fail("reset", times=None, method="PUT", match="model.ckpt-", skip=10)
    flags = ["--pipeline_config_path", f"{store}/x.config"]
    ended = run("train", 1, flags, variables_)
    assert ended.returncode == 1
    error = [line for line in ended.stderr.splitlines() if line.startswith("hvdrec: error: ")]
    kept = re.search(r"model.ckpt-(\d+) is complete in (\S+); continue from it", error[-1])
    assert "the store has failed" in error[-1]
    assert kept, ended.stderr
    # As the message says, and with what had been read from the store before.
    work = pathlib.Path(kept[2])
    more = ["--model_dir", str(work), "--continue_train", "--train_config.num_steps", str(int(kept[1]) + 5)]
    done = ok("train", 1, [*flags, *more], variables(server, tmp_path))
    assert f"continuing from {work}/model.ckpt-{kept[1]}: " in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:9"])
def test_a_store_that_is_not_there(tmp_path, address):
    variables_ = variables(address, tmp_path) | {"HVDREC_STORE_PATIENCE": "0.5"}
    ended = run("train", 1, ["--pipeline_config_path", "s3://bucket/x.config"], variables_)
    assert ended.returncode == 1
    assert "hvdrec: error: s3://bucket/x.config: the store has failed" in ended.stderr
