"""Runs of EasyRec that are kept with their checkpoints: what it predicts, and the losses of its steps."""

from __future__ import annotations

import csv
import json
import pathlib

import numpy as np

from hvdrec.commands.restored import restore
from hvdrec.config import Config, load
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.watch.evaluator import Evaluator

STEPS = 30


def config_of(folder: pathlib.Path, model_dir: pathlib.Path) -> Config:
    """The config of a run, on its own data."""
    config = load(str(folder / "pipeline.config"))
    config.proto.train_input_path = config.proto.eval_input_path = str(folder / "data.csv")
    config.proto.model_dir = str(model_dir)
    return config


def predictions(folder: pathlib.Path, model_dir: pathlib.Path, step: int) -> tuple[dict, dict]:
    """What hvdrec and EasyRec predict for the first rows from the checkpoint of a step."""
    config = config_of(folder, model_dir)
    job, restored = restore(config, SingleReplica(), str(folder / f"model.ckpt-{step}"))
    assert restored == step
    evaluator = Evaluator(job.recommender, job.feed)
    with open_batches(config.proto, job.plan, SingleReplica(), False) as batches:
        found = [evaluator.predict(batch) for batch in batches]
    name = "predictions.npz" if step else "predictions_step0.npz"
    expected = dict(np.load(folder / name, allow_pickle=False))
    rows = len(next(iter(expected.values())))
    ours = {n: np.concatenate([each[n] for each in found])[:rows] for n in found[0]}
    return ours, expected


def evaluation(folder: pathlib.Path, model_dir: pathlib.Path) -> tuple[dict, dict]:
    """What hvdrec's evaluation from the last checkpoint gives, and EasyRec's."""
    config = config_of(folder, model_dir)
    job, _ = restore(config, SingleReplica(), str(folder / f"model.ckpt-{STEPS}"))
    found = job.evaluate(Evaluator(job.recommender, job.feed))
    return found, json.loads((folder / "eval_result.json").read_text())


def traces(folder: pathlib.Path, model_dir: pathlib.Path) -> tuple[list[dict], list[dict]]:
    """The losses of each step from checkpoint 0, hvdrec's and EasyRec's, by name."""
    config = config_of(folder, model_dir)
    config.proto.ClearField("eval_path")
    config.proto.train_config.fine_tune_checkpoint = str(folder / "model.ckpt-0")
    config.proto.train_config.log_step_count_steps = 1
    config.proto.train_config.num_steps = STEPS
    Job(config, SingleReplica()).train(False, 0)
    lines = (model_dir / "logs" / "rank-0.jsonl").read_text().splitlines()
    ours = [record for record in map(json.loads, lines) if record["kind"] == "step"]
    with open(folder / "loss_trace.csv", newline="") as file:
        theirs = [{n: float(v) for n, v in row.items()} for row in csv.DictReader(file)]
    assert len(ours) == len(theirs) == STEPS
    return ours, theirs
