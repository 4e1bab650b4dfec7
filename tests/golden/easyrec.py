"""Runs of EasyRec: their configs on their own rows, their predictions and losses compared with ours."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.commands.restored import restore
from hvdrec.config import Config, load
from hvdrec.config.expand import expand
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.assembly import build_step
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.loop import Flag
from hvdrec.trainer.step.feed import Feed
from hvdrec.trainer.step.state import model_entries
from hvdrec.trainer.watch.evaluator import Evaluator

#: Runs that ship with the project.
HERE = pathlib.Path(__file__).with_name("runs")
SHARED = pathlib.Path(__file__).resolve().parents[3] / "shared" / "golden2"
#: What a config needs for EasyRec's arithmetic where ours is another.
SWITCHES = {
    "autoint_taobao": "model_config { autoint { easyrec_scale: true } }",
    "pdn_taobao": "model_config { pdn { easyrec_similarity: true } }",
}
#: Rows that EasyRec predicted.
PREDICTED = 128
#: A run's losses before each update, by name.
Trace = list[dict[str, float]]
#: Last weights by their names in a checkpoint.
Weights = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class GoldenRun:
    """One of EasyRec's runs: its config, rows, first and last checkpoint, losses and predictions."""

    name: str
    folder: pathlib.Path

    def config(self, model_dir: pathlib.Path) -> Config:
        """Its config on its own rows; saves to `model_dir`."""
        config = load(str(self.folder / "pipeline.config"))
        config.proto.train_input_path = str(self.folder / "data.csv")
        config.proto.eval_input_path = str(self.folder / "data.csv")
        config.proto.model_dir = str(model_dir)
        text_format.Merge(SWITCHES.get(self.name, ""), config.proto)
        expand(config)
        return config

    def checkpoint(self, step: int) -> str:
        return str(self.folder / f"model.ckpt-{step}")

    @property
    def last_step(self) -> int:
        return max(int(p.name.split("-")[1].split(".")[0]) for p in self.folder.glob("model.ckpt-*.index"))

    def predictions(self, step: int) -> dict[str, np.ndarray]:
        name = "predictions_step0.npz" if step == 0 else "predictions.npz"
        return dict(np.load(self.folder / name))

    def trace(self) -> Trace:
        """The losses before each update, by name."""
        with open(self.folder / "loss_trace.csv", newline="") as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        for row in rows:
            del row["step"], row["lr"]
        return rows


def golden_run(name: str) -> GoldenRun:
    """A run by name; skips the test where it isn't at hand."""
    for folder in (HERE / name, SHARED / name):
        if (folder / "pipeline.config").exists():
            return GoldenRun(name, folder)
    pytest.skip(f"EasyRec's run {name} is not shipped: it is in ../shared/golden2, which isn't there")


def our_predictions(run: GoldenRun, model_dir: pathlib.Path, *steps: int) -> Iterator[dict[str, np.ndarray]]:
    """Our predictions of the first rows by EasyRec's checkpoint of each of `steps`."""
    config = run.config(model_dir)
    job, restored = restore(config, SingleReplica(), run.checkpoint(steps[0]))
    assert restored == steps[0]
    plan = job.plan.for_prediction()
    evaluator = Evaluator(job.recommender, Feed(plan))
    for step in steps:
        job.store.restore(run.checkpoint(step), model_entries(job.recommender))
        parts: list[Mapping[str, np.ndarray]] = []
        with open_batches(config.proto, plan, SingleReplica(), False) as batches:
            while sum(len(next(iter(p.values()))) for p in parts) < PREDICTED:
                parts.append(evaluator.predict(next(batches)))
        yield {name: np.concatenate([p[name] for p in parts])[:PREDICTED] for name in parts[0]}


def numbers(values: np.ndarray) -> np.ndarray:
    """Predictions as numbers; those that are text hold some with commas between."""
    if values.dtype.kind in "fiu":
        return values
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values.reshape(-1).tolist()]
    rows = [[float(x) for x in re.split("[,;|]", text)] for text in texts]
    # Some have as many as the longest history of their batch.
    most = max(map(len, rows))
    return np.array([row + [np.nan] * (most - len(row)) for row in rows])


def our_ends(
    run: GoldenRun, model_dir: pathlib.Path, changes: Iterable[Callable[[Job], None]]
) -> Iterator[tuple[Trace, Weights]]:
    """The losses and last weights of our runs from EasyRec's checkpoint of step 0.

    The job is built once for all runs.

    Args:
        run: Whose checkpoint, config and rows.
        model_dir: Of the job; nothing is written.
        changes: What is done to the first weights, for each run.
    """
    job = Job(run.config(model_dir), SingleReplica())
    fine_tune(run.checkpoint(0), job.entries(), None, False)
    first = [(entry.variable, entry.variable.numpy()) for entry in job.entries()]
    with open_batches(job.proto, job.plan, SingleReplica(), True) as loader:
        batches = list(itertools.islice(loader, int(job.proto.train_config.num_steps) or None))
    step = build_step(job, batches[0])
    call = job.feed.stack(batches, len(batches))
    for change in changes:
        for variable, value in first:
            variable.assign(value)
        change(job)
        result = step.run(call, np.zeros(len(Flag), np.float32))
        assert int(result.steps) == len(batches)
        values = [(e, e.variable.numpy()) for e in model_entries(job.recommender)]
        weights = {e.name: v if e.rows is None else v[slice(*e.rows)] for e, v in values}
        report = result.report.numpy().tolist()
        yield [dict(zip(step.loss_names, row, strict=True)) for row in report], weights


def unchanged(_: Job) -> None:
    """Starts from EasyRec's weights."""


def our_trace(run: GoldenRun, model_dir: pathlib.Path) -> Trace:
    """The losses of our run from EasyRec's checkpoint of step 0, before each update."""
    return next(our_ends(run, model_dir, [unchanged]))[0]


def assert_followed(run: GoldenRun, model_dir: pathlib.Path, without: Collection[str] = ()) -> None:
    """Our run has EasyRec's losses in each step and its last weights, both within 1e-3.

    Where a ReLU's input is 0 except for rounding, its sign makes two runs diverge permanently. Then the first steps
    are EasyRec's, and one of the starts that differ in the last bit of a few weights follows its run to the end,
    with losses within 1e-5.

    Args:
        run: EasyRec's run.
        model_dir: Of the job; nothing is written.
        without: Weights that may be others, because the loss doesn't depend on them.
    """
    trace, found = run.trace(), []
    for ours, weights in our_ends(run, model_dir, starts(12)):
        apart, strays = parted(ours, trace), strayed(run, weights) - set(without)
        if apart < (1e-5 if found else 1e-3) and not strays:
            return
        if not found:
            assert parted(ours[:4], trace[:4]) < 1e-5
        found.append(f"{apart:.1e}, {len(strays)} weights: {sorted(strays)[:3]}")
    pytest.fail(f"no start follows EasyRec's run: {found}")


def without_effect(name: str, names: Collection[str]) -> bool:
    """Whether a batch norm further on takes this variable out again, or follows one it takes out.

    The gradient of such a variable is rounding noise, which Adam turns into steps of the size of the learning rate.
    """
    before_norm = name.endswith("/bias") and name.removesuffix("bias") + "bn/beta" in names
    return before_norm or name.endswith(("_fea_bn/beta", "/bn/moving_mean"))


def distances(run: GoldenRun, weights: Weights) -> dict[str, float]:
    """How far our last weights are from EasyRec's, without those that have no effect."""
    theirs = tf.train.load_checkpoint(run.checkpoint(run.last_step))
    found = {name: float(np.abs(v - theirs.get_tensor(name)).max(initial=0)) for name, v in weights.items()}
    return {name: value for name, value in found.items() if not without_effect(name, weights)}


def strayed(run: GoldenRun, weights: Weights) -> set[str]:
    """Last weights that are more than 1e-3 from EasyRec's, without those that have no effect."""
    return {name for name, value in distances(run, weights).items() if value > 1e-3}


def in_last_bit(seed: int, share: float) -> Callable[[Job], None]:
    """Moves that share of the weights, drawn at random, to a neighbouring float32."""

    def change(job: Job) -> None:
        generator = np.random.default_rng(seed)
        for variable in {id(e.variable): e.variable for e in job.entries()}.values():
            if variable.dtype == tf.float32 and "Adam" not in variable.name:
                value = variable.numpy()
                towards = generator.choice([-np.inf, np.inf], value.shape).astype(np.float32)
                stays = (value == 0) | (generator.random(value.shape) > share)
                variable.assign(np.where(stays, value, np.nextafter(value, towards, dtype=np.float32)))

    return change


def starts(count: int, share: float = 0.02) -> list[Callable[[Job], None]]:
    """EasyRec's start, and `count` that differ from it in the last bit of that share of the weights."""
    return [unchanged, *(in_last_bit(seed, share) for seed in range(count))]


def parted(found: Trace, expected: Trace) -> float:
    """The largest relative difference of any loss in any step."""
    assert len(found) == len(expected)
    return max(
        abs(f[name] - value) / max(abs(value), 1e-12)
        for f, e in zip(found, expected, strict=True)
        for name, value in e.items()
    )
