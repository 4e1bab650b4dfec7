"""A model with a checkpoint's weights, for evaluation and prediction."""

from __future__ import annotations

import dataclasses
import os

import tensorflow as tf

from hvdrec import storage
from hvdrec.checkpoint.finetune import existing_prefix
from hvdrec.checkpoint.names import SavedTensor, replicated_variables
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.store import Store
from hvdrec.config import Config
from hvdrec.errors import CheckpointError
from hvdrec.layers.banks.dynamic import share_rows
from hvdrec.layers.placement import Placement
from hvdrec.optim.moving_average import SLOT as AVERAGE
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.trainer.job import Job
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.run.parts import restore_parts
from hvdrec.trainer.run.run_folder import RunFolder
from hvdrec.trainer.step.state import model_entries


def restore(
    config: Config,
    group: ReplicaGroup,
    checkpoint: str | None,
    folder: RunFolder | None = None,
    placement: Placement | None = None,
) -> tuple[Job, int]:
    """Builds the model of `config` and restores its weights on rank 0; `share` copies them to all ranks.

    Args:
        config: Whose model.
        group: The ranks; only rank 0 needs to see the checkpoint.
        checkpoint: A prefix, a directory (its newest), or None for the newest of model_dir.
        folder: The run's files; None takes model_dir as it is.
        placement: Where the variables are placed; None: as in the config.

    Returns:
        The job, and the checkpoint's step (0 on other ranks).

    Raises:
        CheckpointError: The checkpoint doesn't exist, or doesn't fit the model.
    """
    job = Job(config, group, folder, placement)
    if group.rank != 0:
        return job, 0
    store = job.store
    checkpoint = checkpoint and storage.local(checkpoint)
    if checkpoint and os.path.isdir(checkpoint):
        store, checkpoint = Store(checkpoint), None
    elif checkpoint:
        checkpoint = existing_prefix(checkpoint)
    averaged = any(o.use_moving_average for o in job.proto.train_config.optimizer_config)
    step = tf.Variable(0, trainable=False, dtype=tf.int64)

    def entries(prefix: str) -> list[SavedTensor]:
        found = model_entries(job.recommender)
        found = _averaged(found, prefix) if averaged else found
        return [*found, SavedTensor("global_step", step, None)]

    report = store.restore(checkpoint, entries(checkpoint)) if checkpoint else store.restore_newest(entries)
    if report is None:
        raise CheckpointError(f"there is no checkpoint in {store.model_dir}")
    job.restored = report
    logger.info("restored %s", job.folder.shown(report.prefix))
    return job, int(step.numpy())


def share(job: Job) -> None:
    """Sends rank 0's weights to every rank, and restores the rows of split tables (collective)."""
    entries = model_entries(job.recommender)
    share_rows(job.group, job.recommender.strategy)
    job.group.broadcast(replicated_variables(entries))
    restore_parts(job.group, entries, job.restored)


def _averaged(entries: list[SavedTensor], prefix: str) -> list[SavedTensor]:
    """The same entries under the names of their moving averages, if the checkpoint has these."""
    reader = Reader(prefix)
    names = {e.name: f"{e.name}/{AVERAGE}" for e in entries}
    logger.info("using the moving averages of the weights")
    return [dataclasses.replace(e, name=names[e.name]) if names[e.name] in reader else e for e in entries]
