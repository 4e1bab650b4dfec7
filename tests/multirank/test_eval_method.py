"""Who evaluates during training: the ranks that train, only the last rank, or no rank."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from multirank.launch import start
from small_job import SmallJob, write_data

pytestmark = pytest.mark.multirank


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("eval_method")
    write_data(folder / "train.csv", 400)
    write_data(folder / "eval.csv", 200, seed=1)
    return folder


def _train(data: pathlib.Path, name: str, launcher: str, ranks: int, method: str) -> pathlib.Path:
    job = SmallJob(data / "train.csv", data / name, evaluation=data / "eval.csv", batch_size=16, steps=12)
    job.train_extra = f"steps_per_call: 3 is_profiling: {str(method == 'none').lower()}"
    evaluates = method != "none"
    job.export = f'exporter_type: "{"best" if evaluates else "final"}"'
    text = job.text().replace("save_checkpoints_steps: 1000", "save_checkpoints_steps: 4")
    (data / f"{name}.config").write_text(text)
    flags = ["--pipeline_config_path", str(data / f"{name}.config"), "--eval_method", method]
    if evaluates:
        flags += ["--hpo_metric_save_path", str(data / f"{name}.metrics")]
    done = start(launcher, ranks, ["-m", "hvdrec.train", *flags])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert ("evaluation: auc" in done.stdout) == evaluates
    placed = re.search(r"MatMul\w*: \(\w+\): /job:\w+/replica:0/task:0/device:CPU:0", done.stdout)
    assert (placed is None) == evaluates  # As is_profiling asks.
    return data / name


def _evaluated(path: pathlib.Path) -> dict[int, float]:
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {record["step"]: record["auc"] for record in records if record["kind"] == "eval"}


def test_a_separate_rank_evaluates_each_checkpoint(data: pathlib.Path) -> None:
    """The others train as if they were alone, and their evaluation gives the same result."""
    separate = _train(data, "separate", "gloo", 3, "separate")
    together = _train(data, "master", "mpirun", 2, "master")
    found = _evaluated(separate / "logs" / "evaluator.jsonl")
    expected = _evaluated(together / "logs" / "rank-0.jsonl")
    assert list(expected) == [4, 8, 12]
    assert list(found) == [0, 4, 8, 12]
    for folder, aucs in ((separate, found), (together, expected)):
        lines = folder.with_suffix(".metrics").read_text().splitlines()
        assert {m["global_step"]: m["auc"] for m in map(json.loads, lines)} == pytest.approx(aucs)
    for step, auc in expected.items():
        assert found[step] == pytest.approx(auc, abs=1e-3)
    for folder, aucs in ((separate, {s: a for s, a in found.items() if s}), (together, expected)):
        best = max(aucs, key=lambda step: (aucs[step], -step))
        assert json.loads((folder / "best_ckpt" / "best.json").read_text())["step"] == best
        assert tf.train.latest_checkpoint(str(folder / "best_ckpt")).endswith(f"model.ckpt-{best}")
        assert len(list((folder / "export" / "best").iterdir())) == 1
    assert _evaluated(separate / "logs" / "rank-0.jsonl") == {}
    assert json.loads((separate / "eval_result.txt").read_text())["global_step"] == 12
    one, other = (tf.train.load_checkpoint(str(d / "model.ckpt-12")) for d in (separate, together))
    for name in one.get_variable_to_shape_map():
        np.testing.assert_allclose(one.get_tensor(name), other.get_tensor(name), atol=1e-5, err_msg=name)


def test_nobody_evaluates(data: pathlib.Path) -> None:
    folder = _train(data, "none", "plain", 1, "none")
    assert _evaluated(folder / "logs" / "rank-0.jsonl") == {}
    assert not (folder / "eval_result.txt").exists()


def test_one_process_has_none_to_spare(data: pathlib.Path) -> None:
    config = SmallJob(data / "train.csv", data / "lone", evaluation=data / "eval.csv").write(
        data / "lone.config"
    )
    done = start(
        "plain", 1, ["-m", "hvdrec.train", "--pipeline_config_path", str(config), "--eval_method=separate"]
    )
    assert done.returncode == 2
    assert "start at least two" in done.stderr


def test_a_rank_that_leaves_first_takes_nothing_from_the_others() -> None:
    done = start("horovodrun", 3, ["tests/multirank/leaving_worker.py"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("gathered [{'rank': 0}, {'rank': 1}]") == 2
