"""`hvdrec.eval`: evaluates a checkpoint."""

from __future__ import annotations

import os
from typing import Any

from hvdrec import storage
from hvdrec.commands.restored import restore, share
from hvdrec.config import Config
from hvdrec.data.input import input_files
from hvdrec.parallel.cluster import need_one_process
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.job import Job
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.places import OWN_FILES, need_file, need_other_file
from hvdrec.trainer.run.run_folder import RunFolder, bring_checkpoint, open_run_folder
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.watch.evaluator import Evaluator, write_result


def evaluate(config: Config, flags: Any) -> None:
    """Evaluates a checkpoint on all ranks and writes the result as EasyRec does.

    The result is written to `--eval_result_path` in model_dir, to TensorBoard events in
    ``model_dir/eval`` and to standard output.
    """
    need_one_process("evaluate all rows and write the same files")
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    group.watch()
    wanted = flags.checkpoint_path
    with open_run_folder(config, group, storage.is_remote(wanted or "")) as folder:
        checkpoint = bring_checkpoint(config, group, folder.work_dir, wanted)
        _evaluate(config, flags, group, folder, checkpoint)
    group.close()


def _evaluate(
    config: Config, flags: Any, group: ReplicaGroup, folder: RunFolder, checkpoint: str | None
) -> None:
    def begin() -> tuple[Job, int]:
        if group.rank == 0:
            _need_result_file(config, folder, flags)
        return restore(config, group, checkpoint, folder)

    job, step = run_on_all_ranks(group, begin)
    share(job)
    paths = list(flags.eval_input_path) if flags.eval_input_path else None
    pictures = job.pictures()
    result = job.evaluate(Evaluator(job.recommender, job.feed), paths, pictures)
    if group.rank == 0:
        folder.pull(("logs/rank-0.jsonl",))
        model_dir = folder.path
        path = os.path.join(model_dir, flags.eval_result_path)
        write_result(path, result, step)
        record = log.RunLog(model_dir, 0, None)
        record.record("eval", step=step, **result)
        record.evaluation("eval", step, result)
        pictures.write(record, "eval", step, result)
        record.close()
        for name, value in sorted(result.items()):
            print(f"{name} = {value:.6g}")
        print(f"written to {folder.shown(path)}", flush=True)


def _need_result_file(config: Config, folder: RunFolder, flags: Any) -> None:
    """Checks that the result can be written without losing the data or the run's own files."""
    path = os.path.join(folder.path, flags.eval_result_path)
    need_file(path, "--eval_result_path")
    there = os.listdir(folder.path) if os.path.isdir(folder.path) else ()
    own = [name for name in there if name in OWN_FILES or name.startswith("model.ckpt")]
    data = input_files(config.proto, False, flags.eval_input_path or None)
    read = [*(os.path.join(folder.path, name) for name in own), *(file.name for file in data)]
    need_other_file(path, "--eval_result_path", [config.path, *read])
