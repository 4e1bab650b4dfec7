"""This rank's packed batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hvdrec.data import RowSource, open_source
from hvdrec.data.batch import InputPosition, PackedBatch, RowBlock
from hvdrec.data.input import is_stream, with_an_end
from hvdrec.data.label_functions import LabelFunctions
from hvdrec.data.loader import Loader
from hvdrec.data.negatives.sampler import open_sampler
from hvdrec.features import Packer
from hvdrec.features.plan import FeaturePlan
from hvdrec.features.sampled import SampledPacker
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.same_files import need_same_files


def open_batches(
    proto: Any,
    plan: FeaturePlan,
    group: ReplicaGroup,
    training: bool,
    start: InputPosition | None = None,
    paths: list[Any] | None = None,
    named: str | None = None,
) -> Loader:
    """This rank's packed batches, read and packed by background threads (collective).

    Args:
        proto: The config.
        plan: The config's feature plan.
        group: The ranks that share the rows.
        training: Training input (shuffled, repeated) or evaluation input (once, in file order).
        start: The position to start from.
        paths: Read these instead of the config's.
        named: The setting that gave `paths`, for messages.

    Returns:
        The loader; close it when done.
    """
    pack: Callable[[RowBlock], PackedBatch]
    pack = Packer(plan, ignore_error=proto.data_config.ignore_error).pack_block
    functions = LabelFunctions(proto.data_config)

    def open_input() -> RowSource:
        nonlocal pack
        sampler = open_sampler(proto, training, group.rank) if plan.sampled else None
        if sampler is not None:
            pack = SampledPacker(plan, sampler, proto.data_config.ignore_error).pack_block
        if functions:
            pack = functions.packing(pack)
        return open_source(
            proto,
            paths=paths,
            fields=functions.fields(plan.fields),
            rank=group.rank,
            size=group.size,
            training=training,
            start=start or InputPosition(),
            seed=proto.train_config.seed,
            named=named,
        )

    if is_stream(proto):
        bounded = run_on_all_ranks(
            group, lambda: with_an_end(proto, training, paths, named) if group.rank == 0 else None
        )
        # Ranks must agree where a topic ends, to which messages are added all the time.
        paths = group.gather_objects(bounded)[0]
    source = run_on_all_ranks(group, open_input)
    need_same_files(source.files, not (training and proto.data_config.file_shard), group)
    return Loader(source, pack, proto.data_config.prefetch_size)


def try_eval_input(proto: Any, plan: FeaturePlan) -> None:
    """Reads the first batch of the evaluation data, to find errors before a long training run.

    Raises:
        DataError: The data doesn't exist, has no rows, or the first of them can't be used.
    """
    with open_batches(proto, plan, SingleReplica(), False) as batches:
        next(batches, None)
