"""`hvdrec.export`: a checkpoint as a SavedModel."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from hvdrec.checkpoint import files
from hvdrec.config import Config
from hvdrec.parallel.launch import join_group
from hvdrec.serving import saved_model
from hvdrec.serving.assets import asset_files
from hvdrec.serving.module import ServingModule
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.job import set_threads
from hvdrec.trainer.restored import restore


def export(config: Config, flags: Any) -> None:
    """Exports a checkpoint into ``export_dir/<seconds since 1970>``.

    Of several ranks only rank 0 does anything.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)

    def work() -> tuple[Path, int] | None:
        if group.rank != 0:
            return None
        assets = asset_files(config.proto.export_config.asset_files)
        folder = Path(flags.export_dir)
        done = folder / flags.export_done_file if flags.export_done_file else None
        if done is not None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(done)
        job, step = restore(config, group, flags.checkpoint_path)
        target = saved_model.write(ServingModule(config.proto, job.recommender), folder, config.proto, assets)
        if flags.clear_export:
            saved_model.keep_newest(folder, 1)
        if done is not None:
            with files.explained(f"can't write {done}"):
                files.write_atomically(done, "ExportDone")
        return target, step

    exported = together(group, work)
    if exported is not None:
        print(f"step {exported[1]} exported to {exported[0]}", flush=True)
    group.close()
