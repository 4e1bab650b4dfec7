"""Runs on every rank: trains the given jobs, one after the other, and stores the results.

Called as ``worker.py jobs.json``: a list of {name, config, verify}. For each job rank 0 writes
``<name>.npz`` (all variables by checkpoint name) and every rank ``<name>.rank<r>.json`` beside it.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.parts import gather_parts
from hvdrec.config import load
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.job import Job
from hvdrec.trainer.loop import Loop
from hvdrec.trainer.run import log
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.step.verify import checksums


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    jobs = json.loads(path.read_text())
    group = join_group()
    log.set_up(group.rank, False)
    set_threads(load(jobs[0]["config"]).proto.train_config, group.local_size)
    for spec in jobs:
        job = Job(load(spec["config"]), group)
        seen = _count_rows(job)
        result = job.train(False, spec.get("verify", 0))
        entries = job.entries()
        values = _values(entries, group)
        if group.rank == 0:
            np.savez(path.parent / f"{spec['name']}.npz", **values)
        whole = [e for e in entries if not e.split]
        record = {"result": result, "checksums": checksums(whole), "ids": seen}
        (path.parent / f"{spec['name']}.rank{group.rank}.json").write_text(json.dumps(record))
    group.close()


def _values(entries: list[SavedTensor], group: ReplicaGroup) -> dict[str, np.ndarray]:
    """All variables, by checkpoint name, on rank 0."""
    found = {}
    for e in entries:
        if e.split:
            found[e.name] = np.empty(e.shape, np.float32)
        else:
            found[e.name] = e.variable.numpy() if e.rows is None else e.variable.numpy()[slice(*e.rows)]

    def put(name: str, first: int, last: int, values: np.ndarray) -> None:
        found[name][first:last] = values

    gather_parts(entries, group, put)
    return found


def _count_rows(job: Job) -> list[int]:
    """Collects the user ids of every row this rank trained on."""
    seen: list[int] = []
    original = Loop._take

    def take(self: Loop, count: int) -> object:
        batches, error = original(self, count)
        for batch in batches:
            # The label column carries a row number in the jobs that count rows.
            seen.extend(int(v) for v in batch.arrays.get("label/label", ()))
        return batches, error

    Loop._take = take  # type: ignore[method-assign,assignment]
    job_train = job.train

    def train(continue_train: bool, verify: int) -> dict[str, float]:
        try:
            return job_train(continue_train, verify)
        finally:
            Loop._take = original  # type: ignore[method-assign]

    job.train = train  # type: ignore[method-assign]
    return seen


if __name__ == "__main__":
    main()
