"""Runs on every rank: trains jobs that are stopped by signals and continued.

Called as ``resume_worker.py jobs.json``: a list of {name, config, stops, resume}. Every rank writes
``<name>.rank<r>.json`` beside it: the labels of the rows it trained on, and the exit codes.
"""

from __future__ import annotations

import json
import pathlib
import sys

from trainer.stopping import train

from hvdrec.config import load
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.run import log
from hvdrec.trainer.run.threads import set_threads


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    jobs = json.loads(path.read_text())
    group = join_group()
    log.set_up(group.rank, False)
    set_threads(load(jobs[0]["config"]).proto.train_config, group.local_size)
    for spec in jobs:
        labels, codes = train(
            spec["config"],
            group,
            spec["stops"],
            resume=spec.get("resume", True),
            begun=spec.get("begun", False),
        )
        record = {"labels": labels, "codes": codes}
        (path.parent / f"{spec['name']}.rank{group.rank}.json").write_text(json.dumps(record))
    group.close()


if __name__ == "__main__":
    main()
