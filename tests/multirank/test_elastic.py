"""Horovod's elastic driver: killed ranks and changes of hosts cost only the steps since the last checkpoint.

`--losses 20` kills ranks twenty times in one run (by hand; ten minutes).
"""

from __future__ import annotations

import json
import pathlib
import random
import time

import pytest
from multirank.elastic import assert_each_row_counts_once, start_here
from multirank.launch import start
from small_job import SmallJob, write_data

from hvdrec.checkpoint.store import Store

pytestmark = pytest.mark.multirank

BATCH = 8


def _job(folder: pathlib.Path, rows: int, every: int) -> tuple[SmallJob, pathlib.Path]:
    """One epoch, a checkpoint every so many steps."""
    write_data(folder / "train.csv", rows)
    job = SmallJob(
        folder / "train.csv",
        folder / "model",
        batch_size=BATCH,
        batch_norm=False,
        train_extra="steps_per_call: 1",
        data_extra="shuffle: true",
    )
    config = job.write(folder / "job.config")
    text = config.read_text().replace("save_checkpoints_steps: 1000", f"save_checkpoints_steps: {every}")
    config.write_text(text)
    return job, config


def _last(job: SmallJob) -> tuple[int, dict[str, object]]:
    """The step of the newest checkpoint, and the data saved with it."""
    store = Store(str(job.model_dir))
    prefix = store.latest()
    assert prefix is not None
    return int(prefix.rpartition("-")[2]), store.extra(prefix)


def _auc(model_dir: pathlib.Path) -> float:
    """The AUC of the last evaluation of a run."""
    records = map(json.loads, (model_dir / "logs/rank-0.jsonl").read_text().splitlines())
    return [record["auc"] for record in records if record["kind"] == "eval"][-1]


def test_a_killed_rank_and_fewer_slots(tmp_path: pathlib.Path) -> None:
    rows = 12_000
    job, config = _job(tmp_path, rows, 100)
    with start_here(tmp_path, config, "localhost:2", 2) as run:
        run.wait_for("a checkpoint", lambda: (job.model_dir / "model.ckpt-100.index").exists())
        run.set_hosts("localhost:1")
        run.kill(1)
        assert run.finish() == 0, run.text
    parts = run.parts(2)
    assert parts[-1].ranks == 1
    assert parts[-1].step > 0
    step, kept = _last(job)
    assert (kept["epoch"], kept["row"]) == (1, 0)
    assert_each_row_counts_once(parts, BATCH, rows, step)
    assert "Traceback" not in run.text
    assert (job.model_dir / "ESTIMATOR_TRAIN_DONE").exists()


@pytest.mark.timeout(1800)
def test_many_losses_in_one_run(tmp_path: pathlib.Path, request: pytest.FixtureRequest) -> None:
    losses = request.config.getoption("--losses")
    if not losses:
        pytest.skip("by hand: --losses 20")
    draw = random.Random(5)
    rows = 3_500 * losses
    job, config = _job(tmp_path, rows, 50)
    write_data(tmp_path / "eval.csv", 4000, seed=1)
    flags = ("--eval_input_path", str(tmp_path / "eval.csv"), "--verify_replicas", "100")
    times = []
    with start_here(tmp_path, config, "localhost:2", 2, *flags) as run:
        run.wait_for("steps", lambda: run.steps_since(0) > 60)
        for number in range(losses):
            time.sleep(draw.uniform(0, 3))
            run.set_hosts(f"localhost:{3 if number % 7 == 3 else 2}")
            times.append(run.kill(draw.randrange(len(run.ranks()))))
            (tmp_path / "shown.txt").write_text(run.text)
            print(f"{times[-1]:.1f} s to the next step, on {run.parts(2)[-1].ranks} ranks", flush=True)
        assert run.finish(1200) == 0, run.text
    step, kept = _last(job)
    assert (kept["epoch"], kept["row"]) == (1, 0)
    assert_each_row_counts_once(run.parts(2), BATCH, rows, step)
    undisturbed = tmp_path / "undisturbed"
    line = ["-m", "hvdrec.train", "--pipeline_config_path", str(config), *flags]
    start("gloo", 2, [*line, "--model_dir", str(undisturbed)], 600.0)
    found, expected = _auc(job.model_dir), _auc(undisturbed)
    times.sort()
    print(f"{losses} losses: {times[0]:.1f} to {times[-1]:.1f} s, median {times[losses // 2]:.1f}")
    print(f"AUC {found:.4f}, {expected:.4f} in an undisturbed run")
    # Rows are in other batches where the number of ranks was another.
    assert abs(found - expected) < 0.01
