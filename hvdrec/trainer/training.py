"""A training run from its first line to its last."""

from __future__ import annotations

import os
import sys
from typing import Any

from hvdrec.config import Config, save
from hvdrec.config.protos import train_pb2
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group, launched_size, relaunch
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.evaluate import write_result
from hvdrec.trainer.failure import clear, stop_all
from hvdrec.trainer.job import Job, set_threads


def train(config: Config, flags: Any) -> None:
    """Trains on the ranks this process was started with.

    `MirroredStrategy` with `num_gpus_per_worker: k`, started plainly, starts its own k ranks.
    """
    train_config = config.proto.train_config
    own_ranks = int(train_config.num_gpus_per_worker)
    mirrored = train_config.train_distribute == train_pb2.MirroredStrategy
    if mirrored and own_ranks > 1 and launched_size() == 1:
        relaunch(own_ranks, "hvdrec.train", sys.argv[1:])
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(train_config, group.local_size)
    if group.rank == 0:
        clear(config.proto.model_dir)
    try:
        _train(config, flags, group)
    except BaseException as error:
        stop_all(group, config.proto.model_dir, error)
        raise
    group.close()


def _train(config: Config, flags: Any, group: ReplicaGroup) -> None:
    model_dir = config.proto.model_dir
    job = together(group, lambda: Job(config, group))
    together(group, lambda: _claim(job, flags.continue_train))
    if group.rank == 0:
        log.logger.info(
            "%s on %d rank%s, %d embedding rows, %d dense weights",
            *(config.proto.model_config.model_class, group.size, "" if group.size == 1 else "s"),
            *(sum(b.rows for b in job.plan.banks), job.dense_weights),
        )
    result = job.train(flags.continue_train, flags.verify_replicas)
    if group.rank != 0:
        return
    prefix = job.store.latest()
    if result:
        write_result(os.path.join(model_dir, "eval_result.txt"), result, job.store.steps()[-1])
        shown = [f"{n} {v:.4f}" for n, v in sorted(result.items()) if not n.startswith("loss/")]
        print(f"evaluation: {', '.join(shown)}")
    print(f"checkpoint: {prefix}")
    print(f"next: {sys.executable} -m hvdrec.eval --model_dir {model_dir}", flush=True)


def _claim(job: Job, continue_train: bool) -> None:
    """Rank 0 leaves the config in model_dir, unless the folder is another run's."""
    if job.group.rank == 0:
        if not continue_train:
            job.refuse_used_model_dir()
        save(job.config, job.proto.model_dir)
