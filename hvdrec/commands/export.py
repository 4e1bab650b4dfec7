"""`hvdrec.export`: exports a checkpoint as a SavedModel."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hvdrec import storage
from hvdrec.checkpoint import files
from hvdrec.commands.restored import restore
from hvdrec.config import Config
from hvdrec.layers.placement import HERE
from hvdrec.parallel.cluster import need_one_process
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.serving import saved_model
from hvdrec.serving.assets import model_assets
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.job import Job
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.places import need_folder
from hvdrec.trainer.run.run_folder import RunFolder, bring_checkpoint, open_run_folder
from hvdrec.trainer.run.threads import set_threads
from hvdrec.trainer.watch.deltas import delta_assets


def export(config: Config, flags: Any) -> None:
    """Exports a checkpoint into ``export_dir/<seconds since 1970>``.

    With several ranks, only rank 0 exports.
    """
    need_one_process("export the same model")
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    group.watch()

    wanted = flags.checkpoint_path
    needed = any(map(storage.is_remote, (wanted or "", flags.export_dir)))
    with open_run_folder(config, group, needed) as folder:
        checkpoint = bring_checkpoint(config, group, folder.work_dir, wanted)
        exported = run_on_all_ranks(
            group, lambda: _export(config, group, flags, folder, checkpoint) if group.rank == 0 else None
        )
    if exported is not None:
        print(f"step {exported[1]} exported to {exported[0]}", flush=True)
    group.close()


def _export(
    config: Config, group: ReplicaGroup, flags: Any, here: RunFolder, checkpoint: str | None
) -> tuple[str, int]:
    """Exports, and returns the folder and the step."""
    assets = model_assets(config.proto)
    folder = storage.local(flags.export_dir)
    done = storage.join(folder, flags.export_done_file) if flags.export_done_file else ""
    if storage.is_remote(folder):
        if done:
            storage.remove(done)
        job, step = restore(config, group, checkpoint, here, HERE)
        kept = 1 if flags.clear_export else None
        for module, name in _modules(job, flags.towers):
            target_dir = Path(here.work_dir) / "checkpoint/export" / name
            place = storage.join(folder, name) if name else folder
            texts = delta_assets(config.proto, job.recommender, step, here.model_dir)
            version = saved_model.write(
                module, target_dir, config.proto, assets, saved_model.newest(place), texts
            )
            target = saved_model.publish(version, place, kept)
        if done:
            storage.write_text(done, "ExportDone")
        return target, step
    need_folder(folder, "--export_dir")
    if done:
        with contextlib.suppress(FileNotFoundError):
            os.remove(done)
    job, step = restore(config, group, checkpoint, here, HERE)
    for module, name in _modules(job, flags.towers):
        versions = Path(folder) / name
        texts = delta_assets(config.proto, job.recommender, step, here.model_dir)
        written = saved_model.write(module, versions, config.proto, assets, texts=texts)
        if flags.clear_export:
            saved_model.keep_newest(versions, 1)
    if done:
        with files.explained(f"can't write {done}"):
            files.write_atomically(Path(done), "ExportDone")
    return str(written), step


def _modules(job: Job, towers: bool) -> Iterator[tuple[ServingModule, str]]:
    """The parts to export, each with its subfolder: the towers if requested, then the whole model."""
    for side in ("user", "item") if towers else ():
        yield ServingModule(job.proto, job.recommender, side), f"{side}_tower"
    yield ServingModule(job.proto, job.recommender), ""
