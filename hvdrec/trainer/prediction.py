"""`hvdrec.predict`: predictions for the rows of files."""

from __future__ import annotations

import contextlib
from typing import Any

from hvdrec import storage
from hvdrec.config import Config
from hvdrec.data import RowSource, open_source
from hvdrec.data.loader import Loader
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.launch import join_group
from hvdrec.trainer import log
from hvdrec.trainer.agree import together
from hvdrec.trainer.job import set_threads
from hvdrec.trainer.left_out import tell_left_out
from hvdrec.trainer.prediction_files import Layout, output_path, write
from hvdrec.trainer.predictors import FromCheckpoint, FromSavedModel, Predictor
from hvdrec.trainer.same_files import need_same_files
from hvdrec.trainer.workplace import bring_checkpoint, workplace


def predict(config: Config, flags: Any) -> None:
    """Writes one line for each input row: predictions, then the columns to keep.

    Every rank writes its own part when there are several. Rows keep the file's order within a
    part; whole batches of `--batch_size` rows are dealt to the ranks in turn.
    """
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
    wanted = flags.checkpoint_path
    remote = storage.is_remote(wanted or "")
    with contextlib.ExitStack() as stack:
        checkpoint = wanted
        if not flags.saved_model_dir:
            place = stack.enter_context(workplace(config, group, remote))
            checkpoint = bring_checkpoint(config, group, place.folder, wanted)
        predictor = together(group, lambda: _predictor(config, flags, group, checkpoint))
    predictor.share()
    source = together(group, lambda: _open(config.proto, flags.input_path, predictor, group, layout))
    need_same_files(source.files, True, group)
    loader = Loader(source, predictor.pack, data.prefetch_size)
    try:
        rows = sum(group.gather_objects(together(group, lambda: write(path, loader, predictor, layout))))
        tell_left_out(config.proto, group, loader, "prediction")
    finally:
        loader.close()
    if group.rank == 0:
        print(
            f"{rows} rows predicted, written to {flags.output_path if group.size > 1 else path}", flush=True
        )
    group.close()


def _predictor(config: Config, flags: Any, group: ReplicaGroup, checkpoint: str | None) -> Predictor:
    if flags.saved_model_dir:
        return FromSavedModel(config.proto, flags.saved_model_dir)
    return FromCheckpoint(config, group, checkpoint)


def _open(proto: Any, path: str, predictor: Predictor, group: ReplicaGroup, layout: Layout) -> RowSource:
    return open_source(
        proto,
        paths=[path],
        fields=predictor.fields,
        rank=group.rank,
        size=group.size,
        training=False,
        keep_raw=layout.keeps_columns,
    )
