"""`hvdrec.predict`: predicts for the rows of files."""

from __future__ import annotations

import contextlib
from typing import Any

from hvdrec import storage
from hvdrec.commands.output_files import output_path
from hvdrec.commands.prediction_files import Layout, write
from hvdrec.commands.predictors import FromCheckpoint, FromSavedModel, Predictor
from hvdrec.config import Config
from hvdrec.data import RowSource, open_source
from hvdrec.data.loader import Loader
from hvdrec.parallel.cluster import need_one_process
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.places import need_no_other_parts, need_other_file
from hvdrec.trainer.run.run_folder import RunFolder, bring_checkpoint, open_run_folder
from hvdrec.trainer.run.same_files import need_same_files
from hvdrec.trainer.run.skipped_rows import report_empty_columns, report_skipped_rows
from hvdrec.trainer.run.threads import set_threads


def predict(config: Config, flags: Any) -> None:
    """Writes one line per input row: predictions, then the copied columns.

    With several ranks, each writes its own part. Rows keep the file's order within a part; whole batches of
    `--batch_size` rows are distributed to the ranks round-robin.
    """
    need_one_process("predict all rows and write the same files")
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    set_threads(config.proto.train_config, group.local_size)
    group.watch()
    data = config.proto.data_config
    data.ClearField("eval_batch_size")
    data.batch_size = flags.batch_size
    data.with_header = flags.with_header or data.with_header
    layout = Layout(
        output_cols=flags.output_cols,
        reserved_cols=flags.reserved_cols,
        output_format=flags.output_format,
        separator=flags.output_sep,
        declared=[f.input_name for f in data.input_fields],
    )
    path = output_path(
        flags.output_path, flags.output_format, group.rank, group.size, bool(flags.saved_model_dir)
    )
    run_on_all_ranks(group, lambda: _need_place(group, path, flags.output_path))
    wanted = flags.checkpoint_path
    remote = storage.is_remote(wanted or "")
    with contextlib.ExitStack() as stack:
        checkpoint, folder = wanted, RunFolder(config)
        if not flags.saved_model_dir:
            folder = stack.enter_context(open_run_folder(config, group, remote))
            checkpoint = bring_checkpoint(config, group, folder.work_dir, wanted)
        predictor = run_on_all_ranks(group, lambda: _predictor(config, flags, group, folder, checkpoint))
        predictor.share()
    source = run_on_all_ranks(
        group, lambda: _open(config.proto, flags.input_path, predictor, group, layout, path)
    )
    need_same_files(source.files, True, group)
    loader = Loader(source, predictor.pack, data.prefetch_size)
    try:
        rows = sum(
            group.gather_objects(run_on_all_ranks(group, lambda: _write(path, loader, predictor, layout)))
        )
        report_skipped_rows(config.proto, group, loader, "prediction")
        report_empty_columns(group, loader, "prediction")
    finally:
        loader.close()
    if group.rank == 0:
        print(
            f"{rows} rows predicted, written to {flags.output_path if group.size > 1 else path}", flush=True
        )
    group.close()


def _predictor(
    config: Config, flags: Any, group: ReplicaGroup, folder: RunFolder, checkpoint: str | None
) -> Predictor:
    if flags.saved_model_dir:
        return FromSavedModel(config.proto, flags.saved_model_dir)
    return FromCheckpoint(config, group, folder, checkpoint)


def _write(path: str, loader: Loader, predictor: Predictor, layout: Layout) -> int:
    try:
        return write(path, loader, predictor, layout)
    finally:
        predictor.end()


def _need_place(group: ReplicaGroup, path: str, given: str) -> None:
    if group.rank == 0:
        need_no_other_parts(path, given, "--output_path", group.size)


def _open(
    proto: Any, path: str, predictor: Predictor, group: ReplicaGroup, layout: Layout, written: str
) -> RowSource:
    source = open_source(
        proto,
        paths=[path],
        fields=predictor.fields,
        rank=group.rank,
        size=group.size,
        training=False,
        keep_raw=layout.keeps_columns,
        named="--input_path",
    )
    need_other_file(written, "--output_path", [file.name for file in source.files])
    return source
