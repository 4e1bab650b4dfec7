"""`hvdrec.eval`: a checkpoint on evaluation data."""

from __future__ import annotations

import os
from typing import Any

from hvdrec.config import Config
from hvdrec.parallel.launch import join_group
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.evaluate import Evaluator, write_result
from hvdrec.trainer.job import set_threads
from hvdrec.trainer.restored import restore


def evaluate(config: Config, flags: Any) -> None:
    """Evaluates a checkpoint on all ranks and writes the result as EasyRec does.

    The result goes to `--eval_result_path` below model_dir, to TensorBoard events in
    ``model_dir/eval`` and to standard output.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    job, step = together(group, lambda: restore(config, group, flags.checkpoint_path))
    paths = list(flags.eval_input_path) if flags.eval_input_path else None
    pictures = job.pictures()
    result = job.evaluate(Evaluator(job.recommender, job.feed), paths, pictures)
    if group.rank == 0:
        model_dir = config.proto.model_dir
        path = os.path.join(model_dir, flags.eval_result_path)
        write_result(path, result, step)
        record = log.RunLog(model_dir, 0, None)
        record.record("eval", step=step, **result)
        record.scalars("eval", step, result)
        pictures.write(record, "eval", step)
        record.close()
        for name, value in sorted(result.items()):
            print(f"{name} = {value:.6g}")
        print(f"written to {path}", flush=True)
    group.close()
