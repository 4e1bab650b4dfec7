"""`hvdrec.train --check_mode`: checks the config, and that every row can be used."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from hvdrec.config import Config
from hvdrec.data.batch import PackedBatch
from hvdrec.data.input import input_files
from hvdrec.errors import DataError
from hvdrec.features import build_plan
from hvdrec.features.fields import heads_of
from hvdrec.losses.labels import label_ranges
from hvdrec.parallel.launch import join_group
from hvdrec.trainer.input import open_batches
from hvdrec.trainer.run import log
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.skipped_rows import (
    all_left_out,
    report_empty_columns,
    report_skipped_rows,
)


def check(config: Config, flags: Any) -> None:
    """Reads all training and evaluation rows once, as training would; nothing is written.

    The config has already been checked.

    Raises:
        DataError: A row can't be used; the message names file, row and column.
    """
    group = join_group()
    log.set_up(group.rank, flags.verbose, config.warnings)
    proto = config.proto
    plan = build_plan(proto, label_ranges(heads_of(proto)))
    told = []
    for mode, what in (("train", "training"), ("eval", "evaluation")):
        kind = proto.WhichOneof(f"{mode}_path")
        path = getattr(proto, kind) if kind else ""
        if not path:
            continue
        run_on_all_ranks(group, functools.partial(input_files, proto, mode == "train"))
        with open_batches(proto, plan, group, False, paths=[path], named=kind) as batches:
            rows = run_on_all_ranks(group, functools.partial(_rows, batches))
            count = sum(group.gather_objects(rows))
            left_out = all_left_out(group, batches)
            if not count:
                raise DataError(f"{kind}: {left_out or 'there are no rows'}")
            told.append(f"{count} rows for {what}")
            report_skipped_rows(proto, group, batches, what)
            report_empty_columns(group, batches, what)
    if group.rank == 0:
        print(f"checked: the config, {' and '.join(told)}; nothing was trained", flush=True)
    group.close()


def _rows(batches: Iterable[PackedBatch]) -> int:
    return sum(batch.rows for batch in batches)
