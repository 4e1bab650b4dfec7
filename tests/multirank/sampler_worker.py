"""Runs on every rank: trains a model with a negative sampler in one run, and again in two parts.

Called as ``sampler_worker.py config folder``. Every rank writes ``rank<r>.json`` into the folder: what its sampler
drew for its first batches, and the sums of its weights; rank 0 also what the first step's losses should be.
"""

from __future__ import annotations

import json
import pathlib
import sys

import tensorflow as tf

from hvdrec.commands.retrieve import retrieve_on
from hvdrec.config import Config, load
from hvdrec.config.expand import expand
from hvdrec.config.flags import load_for_retrieve, parse_retrieve
from hvdrec.data import open_source
from hvdrec.data.negatives.sampler import open_sampler
from hvdrec.features.sampled import SampledPacker
from hvdrec.layers.context import ForwardContext
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job
from hvdrec.trainer.run import log
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.step.verify import checksums

STEPS = 6


def config_of(path: str, folder: pathlib.Path, steps: int) -> Config:
    config = load(path)
    expand(config)
    config.proto.model_dir = str(folder)
    config.proto.ClearField("eval_path")
    config.proto.train_config.num_steps = steps
    return config


def first_batch(job: Job, rank: int, size: int) -> dict[str, tf.Tensor]:
    """The first batch of a rank, with the draws of its sampler."""
    proto = job.proto
    packer = SampledPacker(job.plan, open_sampler(proto, True, rank))
    source = open_source(
        proto, fields=job.plan.fields, rank=rank, size=size, training=True, seed=proto.train_config.seed
    )
    batch = packer.pack_block(next(iter(source)))
    source.close()
    return job.feed.unpack(job.feed.stack([batch]), tf.constant(0))


def loss(job: Job, arrays: dict[str, tf.Tensor]) -> float:
    """The cross entropy of a batch by the first weights."""
    model = job.recommender
    run = ForwardContext(training=True, seed=tf.constant([0, 0]))
    output = model.forward(arrays, model.touch(arrays), run)
    return float(model.losses(arrays, output, True, tf.constant(0, tf.int64))["cross_entropy_loss"])


def search(group: ReplicaGroup, path: str, folder: pathlib.Path, users: str) -> dict[str, float]:
    """What `hvdrec.retrieve` finds with the first weights of the run, and writes into `folder`."""
    rows = str(pathlib.Path(path).with_name("rows.csv"))
    given = [
        "--model_dir",
        str(folder.parent / "whole"),
        "--pipeline_config_path",
        path,
        "--input_path",
        rows,
    ]
    given += ["--topk", "5", "--batch_size", "48", "--user_id_field", users, "--output_path", str(folder)]
    config, flags = load_for_retrieve(parse_retrieve(given))
    return retrieve_on(group, config, flags)


def main() -> None:
    path, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    group = join_group()
    log.set_up(group.rank, False)
    set_threads(load(path).proto.train_config, group.local_size)
    whole = Job(config_of(path, folder / "whole", STEPS), group)
    batches = [first_batch(whole, rank, group.size) for rank in range(group.size)]
    record = {"drawn": batches[group.rank]["sampled/bank0/index"].numpy().shape}
    record["expected"] = sum(loss(whole, arrays) for arrays in batches) / group.size
    record["differ"] = len({arrays["bank0/rows"].numpy().tobytes() for arrays in batches})
    whole.train(False, 0)
    Job(config_of(path, folder / "parts", STEPS // 2), group).train(False, 0)
    again = Job(config_of(path, folder / "parts", STEPS), group)
    again.train(True, 0)
    record["whole"], record["parts"] = (str(checksums(job.entries())) for job in (whole, again))
    for users in ("", "user_id"):
        record[f"found{users}"] = search(group, path, folder / f"found{users}", users)
        if group.rank == 0:
            record[f"alone{users}"] = search(SingleReplica(), path, folder / f"alone{users}.tsv", users)
    (folder / f"rank{group.rank}.json").write_text(json.dumps(record))
    group.close()


if __name__ == "__main__":
    main()
