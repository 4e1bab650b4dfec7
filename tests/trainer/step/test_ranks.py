"""A step of two ranks with some of the rows each has the gradients and losses of one rank with all of them."""

from __future__ import annotations

import copy
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from serving.exported import random_job
from small_job import MODELS, SmallJob, write_data
from thread_ranks import on_threads

from hvdrec.config import load
from hvdrec.config.checks.check import check
from hvdrec.config.losses import JRC_STRATEGIES
from hvdrec.data.batch import PackedBatch
from hvdrec.layers.banks.gradient import RowGradient
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.assembly import build_step
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.job import Job
from hvdrec.trainer.step.step import Rows

#: Rows of the ranks.
PARTS = (29, 12)
#: Their losses compare the rows of a rank, or their batch norm has no switch and takes a rank's rows.
OF_A_RANK = ("DropoutNet", "CoMetricLearningI2I", "MultiTower")
_SESSIONS = 'session_name: "uid" cross_replica: true'
#: Losses across the rows of all ranks.
PAIRS = f"""
  losses {{ loss_type: CLASSIFICATION }}
  losses {{ loss_type: PAIR_WISE_LOSS pairwise_loss {{ {_SESSIONS} }} }}
  losses {{ loss_type: PAIRWISE_FOCAL_LOSS pairwise_focal_loss {{ hinge_margin: 1 {_SESSIONS} }} }}
  losses {{ loss_type: PAIRWISE_LOGISTIC_LOSS pairwise_logistic_loss {{ ohem_ratio: 0.5 {_SESSIONS} }} }}
  losses {{ loss_type: PAIRWISE_HINGE_LOSS pairwise_hinge_loss {{ {_SESSIONS} }} }}"""
LISTS = f"""
  losses {{ loss_type: LISTWISE_RANK_LOSS listwise_rank_loss {{ scale_logits: true {_SESSIONS} }} }}
  losses {{ loss_type: LISTWISE_DISTILL_LOSS listwise_distill_loss {{ {_SESSIONS} }} }}"""


def _jrc(strategy: str, same_label: str = "true") -> str:
    return f"""num_class: 2 losses {{ loss_type: JRC_LOSS jrc_loss {{ loss_weight_strategy: "{strategy}"
      same_label_loss: {same_label} {_SESSIONS} }} }}"""


#: One with all pairs and lists, and one with each strategy of JRC_LOSS.
TOWERS = "\n".join(
    f'task_towers {{ tower_name: "{name}" label_name: "label" {losses} }}'
    for name, losses in {
        "several": PAIRS + LISTS,
        **{strategy: _jrc(strategy) for strategy in JRC_STRATEGIES},
        "others_only": _jrc("fixed", "false"),
    }.items()
)
#: A tower that another one relates to, and a teacher's pairs.
RELATED = """task_towers { tower_name: "ctr" label_name: "label" }
  task_towers { tower_name: "cvr" label_name: "label" relation_tower_names: "ctr"
    losses { loss_type: CLASSIFICATION } losses { loss_type: ORDER_CALIBRATE_LOSS weight: 2 } }"""
TEACHER = f"""kd {{ loss_type: PAIR_WISE_LOSS pred_name: "logits_cvr" soft_label_name: "weight"
  pairwise_loss {{ {_SESSIONS} }} }}"""

CASES: dict[str, dict[str, str]] = {
    **{model: {"model": model} for model in MODELS if model not in OF_A_RANK},
    "buckets": {"model": "DBMTL", "train_extra": "allreduce_buckets: 3 sparse_reduce: DENSE"},
    "losses of a rank model": {"model": "MultiTowerDIN", "model_extra": PAIRS + LISTS},
    "JRC_LOSS of a rank model": {"model": "MultiTowerDIN", "model_extra": _jrc("fixed")},
    "losses of towers": {"model": "MMoE", "towers": TOWERS},
    "related towers": {
        "model": "DBMTL",
        "towers": RELATED,
        "model_extra": TEACHER,
        "data_extra": 'label_fields: "weight"',
    },
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_losses_do_not_depend_on_the_ranks(case: str, tmp_path: pathlib.Path) -> None:
    job, batches = _job(tmp_path, **CASES[case])
    whole = _step(job, SingleReplica(), batches[0])
    ranks = on_threads(len(PARTS), lambda group: _step(job, group, batches[1 + group.rank]))
    for found in ranks:
        assert found.keys() == whole.keys()
        for name, value in whole.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
    unmoved = [name for name, value in whole.items() if not np.abs(value).max() > 1e-6]
    assert len(unmoved) < len(whole) / 3, unmoved


def _job(folder: pathlib.Path, towers: str = "", **changes: str) -> tuple[Job, list[PackedBatch]]:
    """A job with random weights, and batches of all rows and of each rank's."""
    write_data(folder / "all.csv", sum(PARTS))
    lines = (folder / "all.csv").read_text().splitlines(keepends=True)
    paths = [folder / "all.csv", *(folder / f"{i}.csv" for i in range(len(PARTS)))]
    for path, rows in zip(paths[1:], (lines[: PARTS[0]], lines[PARTS[0] :]), strict=True):
        path.write_text("".join(rows))
    written = SmallJob(paths[0], folder / "run", batch_size=len(lines), batch_norm=False, **changes)  # type: ignore[arg-type]
    path = written.write(folder / "job.config")
    if towers:
        start, _, end = re.split(r"(task_towers.*mean_squared_error \{\} \})", path.read_text(), flags=re.S)
        path.write_text(f"{start}{towers} {end[end.index('}') + 1 :]}")
    config = load(str(path))
    check(config)
    job = random_job(config)
    batches = []
    for path in paths:
        with open_batches(config.proto, job.plan, SingleReplica(), True, paths=[str(path)]) as loader:
            batches.append(next(loader))
    assert [batch.rows for batch in batches] == [len(lines), *PARTS]
    return job, batches


def _step(job: Job, group: ReplicaGroup, batch: PackedBatch) -> dict[str, np.ndarray]:
    """The gradients of all variables and the losses, by name."""
    job = copy.copy(job)
    job.group = group
    step = build_step(job, batch)
    rows = Rows.of(tf.constant(batch.rows), tf.constant(float(sum(PARTS))))
    unpacked = job.feed.unpack(job.feed.stack([batch]), tf.constant(0))
    exchanged = step.exchange(unpacked, rows, tf.constant(0, tf.int64))
    found = dict(zip(step.loss_names, exchanged.losses.numpy(), strict=True))
    for variable, gradient in zip(step.variables, exchanged.gradients, strict=True):
        if isinstance(gradient, RowGradient):
            gradient = gradient.densify(variable.shape[0])
        found[variable.name] = gradient.numpy()
    return found
