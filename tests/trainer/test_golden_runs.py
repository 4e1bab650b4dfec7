"""EasyRec's own runs: its checkpoints, losses, weights, slots and logits."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.commands.restored import restore
from hvdrec.config import load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.assembly import build_step
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.step.state import model_entries
from hvdrec.trainer.watch.evaluator import Evaluator

RUNS = ("deepfm_adult", "wide_and_deep_adult", "multi_tower_two_losses_adult")


def _config(shared: pathlib.Path, run: str, model_dir: pathlib.Path) -> object:
    config = load(str(shared / "golden" / run / "pipeline.config"))
    config.proto.train_input_path = str(shared / "data" / "adult" / "adult_train.csv")
    config.proto.eval_input_path = str(shared / "data" / "adult" / "adult_test.csv")
    config.proto.model_dir = str(model_dir)
    return config


@pytest.mark.parametrize("run", RUNS)
def test_logits_and_metrics_from_checkpoint_120(
    shared: pathlib.Path, tmp_path: pathlib.Path, run: str
) -> None:
    golden = shared / "golden" / run
    config = _config(shared, run, tmp_path)
    job, step = restore(config, SingleReplica(), str(golden / "model.ckpt-120"))
    assert step == 120
    evaluator = Evaluator(job.recommender, job.feed)
    with open_batches(config.proto, job.plan, SingleReplica(), False) as batches:
        logits = np.concatenate([evaluator.predict(batch)["logits"] for batch in batches])
    np.testing.assert_allclose(logits, np.load(golden / "adult_test_logits.npy").reshape(-1), atol=1e-4)
    expected = json.loads((golden / "eval_result.json").read_text())
    found = job.evaluate(evaluator)
    # EasyRec's max_f1 compares logits with probability thresholds; it is not one to meet.
    for name in expected.keys() - {"global_step", "max_f1"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name


# In the tenth step of the third a ReLU's input is 2e-7: on which side of 0 it falls parts two runs for
# good, so that the native order of rounding can't be held against EasyRec's.
@pytest.mark.parametrize(
    ("run", "ops"), [*((run, "") for run in RUNS), *((run, "native") for run in RUNS[:2])]
)
def test_training_from_checkpoint_0(
    shared: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, run: str, ops: str
) -> None:
    monkeypatch.setenv("HVDREC_OPS", ops)
    golden = shared / "golden" / run
    config = _config(shared, run, tmp_path / "model")
    config.proto.ClearField("eval_path")
    config.proto.train_config.fine_tune_checkpoint = str(golden / "model.ckpt-0")
    job = Job(config, SingleReplica())
    job.train(False, 0)

    with open(golden / "loss_trace.csv", newline="") as file:
        trace = list(csv.DictReader(file))
    lines = (tmp_path / "model" / "logs" / "rank-0.jsonl").read_text().splitlines()
    steps = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    assert len(steps) == len(trace) == 120
    for found, expected in zip(steps, trace, strict=True):
        for name in expected.keys() - {"step"}:
            assert found[name] == pytest.approx(float(expected[name]), rel=1e-3), (found["step"], name)

    ours = tf.train.load_checkpoint(str(tmp_path / "model" / "model.ckpt-120"))
    theirs = tf.train.load_checkpoint(str(golden / "model.ckpt-120"))
    names = set(theirs.get_variable_to_shape_map())
    assert names == set(ours.get_variable_to_shape_map())
    for name in names:
        difference = np.abs(ours.get_tensor(name) - theirs.get_tensor(name))
        allowed = 1e-3 + 1e-3 * np.abs(theirs.get_tensor(name))
        if _without_effect(name, names):
            assert difference.max() < 0.03, name
            continue
        # Rounding differs from run to run with two threads, and 120 steps of Adam enlarge it: single
        # elements lie a little beyond 1e-3.
        assert np.quantile(difference / allowed, 0.9) < 1.0, name
        assert difference.max() < 5e-3, name


def test_native_layers_update_as_tensorflow_does(
    shared: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step by step, from the same weights.

    A whole run of this config can't be compared so: in its tenth step a ReLU's input is 2e-7, and
    on which side of 0 it falls parts two runs for good.
    """
    run = RUNS[2]
    jobs = {}
    for ops in ("tensorflow", "native"):
        config = _config(shared, run, tmp_path / ops)
        monkeypatch.setenv("HVDREC_OPS", ops)
        jobs[ops] = Job(config, SingleReplica())
        fine_tune(str(shared / "golden" / run / "model.ckpt-0"), jobs[ops].entries(), None, False)
    one, two = jobs.values()
    with open_batches(config.proto, one.plan, SingleReplica(), True) as batches:
        taken = [next(batches) for _ in range(20)]
    steps = {ops: build_step(job, taken[0]) for ops, job in jobs.items()}
    variables = [(a.variable, b.variable) for a, b in zip(one.entries(), two.entries(), strict=True)]
    names = {e.name for e in one.entries()}
    for batch in taken:
        for a, b in variables:
            b.assign(a)
        for step in steps.values():
            step.run(step.feed.stack([batch]), np.zeros(2, np.float32))
        for entry, (a, b) in zip(one.entries(), variables, strict=True):
            if not _without_effect(entry.name.split("/Adam")[0], names):
                np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5, err_msg=entry.name)


def _without_effect(name: str, names: set[str]) -> bool:
    """Whether a batch norm further on takes this variable out again, or follows one it takes out.

    The gradient of such a variable is rounding noise, which Adam turns into steps of the size of
    the learning rate.
    """
    before_norm = name.endswith("/bias") and name.removesuffix("bias") + "bn/beta" in names
    return before_norm or name.endswith(("_fea_bn/beta", "/bn/moving_mean"))


@pytest.mark.parametrize("run", RUNS)
def test_going_on_from_checkpoint_120(shared: pathlib.Path, tmp_path: pathlib.Path, run: str) -> None:
    """EasyRec's slots, on the rows that follow, give the losses of a run from checkpoint 0."""
    golden = shared / "golden" / run
    steps = {}
    for name, first in (("whole", 0), ("resumed", 120)):
        config = _config(shared, run, tmp_path / name)
        config.proto.ClearField("eval_path")
        config.proto.train_config.num_steps = 200
        (tmp_path / name).mkdir()
        for path in golden.glob(f"model.ckpt-{first}.*"):
            shutil.copy(path, tmp_path / name / path.name)
        if first:
            rows = pathlib.Path(config.proto.train_input_path).read_text().splitlines(keepends=True)
            rest = tmp_path / "rest.csv"
            rest.write_text("".join(rows[first * 256 :]))
            config.proto.train_input_path = str(rest)
        Job(config, SingleReplica()).train(True, 0)
        lines = (tmp_path / name / "logs" / "rank-0.jsonl").read_text().splitlines()
        records = [r for r in map(json.loads, lines) if r["kind"] == "step"]
        steps[name] = {r["step"]: r["total_loss"] for r in records if r["step"] >= 120}
    # The rows of one epoch end in step 127.
    assert list(steps["resumed"]) == list(steps["whole"]) == list(range(120, 128))
    for step, loss in steps["whole"].items():
        assert steps["resumed"][step] == pytest.approx(loss, rel=2e-3), step


@pytest.mark.parametrize("run", RUNS[:2])
def test_a_variable_map_brings_renamed_variables_back(
    shared: pathlib.Path, tmp_path: pathlib.Path, run: str
) -> None:
    golden = tf.train.load_checkpoint(str(shared / "golden" / run / "model.ckpt-120"))
    values = {name: golden.get_tensor(name) for name in golden.get_variable_to_shape_map()}
    names = sorted(values)
    renamed = [n if n.endswith("_power") or n == "global_step" else f"old/{n}" for n in names]
    tensors = [values[n] for n in names]
    prefix = str(tmp_path / "model.ckpt-120")
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=renamed, shape_and_slices=[""] * len(names), tensors=tensors
    )
    job = Job(_config(shared, run, tmp_path / "model"), SingleReplica())
    weights = [e.name for e in model_entries(job.recommender)]
    path = tmp_path / "map"
    path.write_text("".join(f"{name}\told/{name}\n" for name in weights))
    report = fine_tune(prefix, job.entries(), str(path))
    assert report.skipped == {}
    for entry in job.entries():
        if entry.name != "global_step":
            value = entry.variable.numpy()
            found = value if entry.rows is None else value[slice(*entry.rows)]
            np.testing.assert_array_equal(found, values[entry.name], err_msg=entry.name)
