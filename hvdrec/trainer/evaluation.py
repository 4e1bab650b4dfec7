"""`hvdrec.eval`: a checkpoint on evaluation data."""

from __future__ import annotations

import os
from typing import Any

from hvdrec import storage
from hvdrec.config import Config
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.evaluate import Evaluator, write_result
from hvdrec.trainer.job import set_threads
from hvdrec.trainer.restored import restore, share
from hvdrec.trainer.workplace import Workplace, bring_checkpoint, workplace


def evaluate(config: Config, flags: Any) -> None:
    """Evaluates a checkpoint on all ranks and writes the result as EasyRec does.

    The result goes to `--eval_result_path` below model_dir, to TensorBoard events in
    ``model_dir/eval`` and to standard output.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    group.watch()
    wanted = flags.checkpoint_path
    with workplace(config, group, storage.is_remote(wanted or "")) as place:
        checkpoint = bring_checkpoint(config, group, place.folder, wanted)
        _evaluate(config, flags, group, place, checkpoint)
    group.close()


def _evaluate(
    config: Config, flags: Any, group: ReplicaGroup, place: Workplace, checkpoint: str | None
) -> None:
    job, step = together(group, lambda: restore(config, group, checkpoint))
    share(job)
    paths = list(flags.eval_input_path) if flags.eval_input_path else None
    pictures = job.pictures()
    result = job.evaluate(Evaluator(job.recommender, job.feed), paths, pictures)
    if group.rank == 0:
        place.pull(("logs/rank-0.jsonl",))
        model_dir = config.run_dir
        path = os.path.join(model_dir, flags.eval_result_path)
        write_result(path, result, step)
        record = log.RunLog(model_dir, 0, None)
        record.record("eval", step=step, **result)
        record.scalars("eval", step, result)
        pictures.write(record, "eval", step)
        record.close()
        for name, value in sorted(result.items()):
            print(f"{name} = {value:.6g}")
        print(f"written to {config.shown(path)}", flush=True)
