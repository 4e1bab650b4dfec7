"""The start of a run: from the newest checkpoint, from another run's, or from initial values."""

from __future__ import annotations

import dataclasses
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.checkpoint.names import SavedTensor, replicated_variables
from hvdrec.checkpoint.restore import RestoreReport
from hvdrec.checkpoint.store import Store
from hvdrec.data.batch import BEGINNING, InputPosition
from hvdrec.data.input import is_stream
from hvdrec.errors import CheckpointError
from hvdrec.layers.banks.dynamic import share_rows
from hvdrec.layers.banks.strategy import BankStrategy
from hvdrec.optim.moving_average import SLOT as AVERAGE
from hvdrec.parallel import keeper
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.storage.maxcompute import is_table
from hvdrec.trainer.run.agree import run_on_all_ranks
from hvdrec.trainer.run.log import logger
from hvdrec.trainer.run.options import RunOptions
from hvdrec.trainer.run.parts import restore_parts

#: The fields that identify an input.
_DIGEST = "sha256"
#: What a resumed run must have in common with the previous one to produce the same bits.
_SAME_BITS = ("ranks", "threads", "tensorflow")


@dataclasses.dataclass(frozen=True)
class Start:
    """The state that a run starts from.

    Attributes:
        position: The position in this rank's training input.
        fit_from: The step at which training on the evaluation data began, if it did.
        fit_position: The position in this rank's evaluation input in that phase.
        kept: What was saved with the checkpoint, if its input is this run's.
        saved: The same, whatever its input was.
    """

    position: InputPosition = BEGINNING
    fit_from: int | None = None
    fit_position: InputPosition = BEGINNING
    kept: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    saved: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def identity(proto: Any, group: ReplicaGroup, described: Mapping[str, Any]) -> dict[str, Any]:
    """The identity that a checkpoint saves of its run, for the run that continues from it.

    Args:
        proto: The config.
        group: The ranks.
        described: The training input, as described by `hvdrec.data.identity`.
    """
    data = proto.data_config
    kind = proto.WhichOneof("train_path")
    return {
        "ranks": group.size,
        "threads": [
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ],
        "tensorflow": tf.__version__,
        "input": {
            "path": str(getattr(proto, kind)) if kind else "",
            "seed": int(proto.train_config.seed),
            "shuffle": bool(data.shuffle),
            "shuffle_buffer_size": int(data.shuffle_buffer_size),
            "file_shard": bool(data.file_shard),
            **described,
        },
    }


def begin(
    proto: Any,
    store: Store,
    entries: list[SavedTensor],
    strategy: BankStrategy,
    group: ReplicaGroup,
    now: Mapping[str, Any],
    continue_train: bool,
    options: RunOptions,
    evaluated: Mapping[str, Any] = MappingProxyType({}),
) -> Start:
    """Restores or fine-tunes on rank 0, and synchronises all ranks (collective).

    Args:
        proto: The config.
        store: The checkpoints of model_dir.
        entries: The entries of this run's checkpoints.
        strategy: The model's banks.
        group: The ranks.
        now: The run's `identity`.
        continue_train: Continue from the newest checkpoint in model_dir, if there is one.
        options: Flags.
        evaluated: The evaluation data, as described by `hvdrec.data.identity`, if it is trained on.

    Raises:
        CheckpointError: Checkpoints already exist, are damaged, or don't fit.
    """

    def restore() -> tuple[dict[str, Any], RestoreReport | None]:
        if group.rank != 0:
            return {}, None
        return _restore(proto, store, entries, now, continue_train, options, folder)

    with tempfile.TemporaryDirectory(prefix="hvdrec-fine-tune-") as folder:
        own, report = run_on_all_ranks(group, restore)
        kept = group.gather_objects(own)[0]
        share_rows(group, strategy)
        group.broadcast(replicated_variables(entries))
        restore_parts(group, entries, report)
    _begin_split_averages(entries, report, group)
    if not kept:
        return Start()
    if _is_another(kept.get("input", {}), now["input"]):
        return Start(saved=kept)
    position = _position(proto, kept, group)
    fit = kept.get("fit_on_eval")
    if not fit or (evaluated and _is_another(fit.get("input", {}), evaluated)):
        return Start(position, kept=kept, saved=kept)
    return Start(position, int(fit["from"]), _position(proto, fit, group), kept, kept)


def refuse_used_model_dir(store: Store) -> None:
    """Prevents writing to another run's folder.

    Raises:
        CheckpointError: model_dir contains checkpoints.
    """
    latest = store.latest()
    if latest is not None:
        folder, name = os.path.split(store.shown(latest))
        raise CheckpointError(
            f"{folder} already contains checkpoints ({name}); give --continue_train to "
            "continue from there, or another --model_dir"
        )


def describe_positions(positions: Sequence[InputPosition], own: bool) -> dict[str, Any]:
    """Input positions in the format of a checkpoint.

    Args:
        positions: The position of each rank, or one for all ranks.
        own: Whether each rank has its own position.
    """
    described: dict[str, Any] = {"epoch": positions[0].epoch, "row": positions[0].row}
    offsets: dict[int, int] = {}
    for position in positions:
        for partition, offset in position.offsets:
            # A rank that has trained nothing since holds those of all ranks.
            offsets[partition] = max(offset, offsets.get(partition, 0))
    if offsets:
        described["offsets"] = {str(partition): offsets[partition] for partition in sorted(offsets)}
    if own:
        described["positions"] = [(p.epoch, p.row) for p in positions]
    return described


def _restore(
    proto: Any,
    store: Store,
    entries: Sequence[SavedTensor],
    now: Mapping[str, Any],
    continue_train: bool,
    options: RunOptions,
    folder: str,
) -> tuple[dict[str, Any], RestoreReport | None]:
    """What was saved with model_dir's checkpoint (nothing if there is none), and what was restored."""
    train = proto.train_config
    if not continue_train:
        refuse_used_model_dir(store)
    restored = store.restore_newest(lambda prefix: entries)
    _need_own_checkpoint(store, None if restored is None else restored.prefix)
    if restored is not None:
        kept = store.extra(restored.prefix)
        _tell_where(store.shown(restored.prefix), kept, now)
        return kept, restored
    if continue_train:
        logger.info("no checkpoint in %s: training begins at step 0", store.model_dir)
    report = None
    if train.fine_tune_checkpoint:
        report = fine_tune(
            train.fine_tune_checkpoint,
            entries,
            train.fine_tune_ckpt_var_map or None,
            train.force_restore_shape_compatible,
            proto.model_config.restore_filters,
            options.ignore_fine_tune_errors,
            folder,
        )
        _begin_averages(entries, report)
        for line in report.lines():
            logger.info("fine-tuning: %s", line)
    return {}, report


def _need_own_checkpoint(store: Store, restored: str | None) -> None:
    """Prevents restarted ranks from starting over on a host without their checkpoints.

    Raises:
        CheckpointError: They would start over.
    """
    began = keeper.began_at()
    if began is not None and (restored is None or int(restored.rpartition("-")[2]) < began):
        raise CheckpointError(
            f"{store.model_dir} on {socket.gethostname()} has no checkpoint of this run: rank 0 was on "
            "another host. Under horovodrun's elastic driver put model_dir on a file system that all hosts "
            "share, or in a store"
        )


def _begin_averages(entries: Sequence[SavedTensor], report: RestoreReport) -> None:
    """Lets averages that the checkpoint didn't have begin at the values of their variables."""
    for entry, variable in _averages_to_begin(entries, report):
        if not entry.split:
            first, last = entry.rows or (0, None)
            value = entry.variable.numpy()
            value[first:last] = variable.variable.numpy()[first:last]
            entry.variable.assign(value)


def _begin_split_averages(
    entries: Sequence[SavedTensor], report: RestoreReport | None, group: ReplicaGroup
) -> None:
    """The same for the ranks' rows of split tables, after these have their values (collective)."""
    if not any(entry.split for entry in entries):
        return
    names = [average.name for average, _ in _averages_to_begin(entries, report)] if report else []
    begun = set(group.gather_objects(names)[0])
    by_name = {e.name: e for e in entries}
    for average in (e for e in entries if e.name in begun and e.split):
        variable = by_name[average.name.removesuffix(f"/{AVERAGE}")]
        if average.split and variable.split and average.rows:
            average.split.write(*average.rows, variable.split.read(*average.rows))


def _averages_to_begin(
    entries: Sequence[SavedTensor], report: RestoreReport
) -> list[tuple[SavedTensor, SavedTensor]]:
    """The averages that a checkpoint didn't have, and their variables."""
    by_name = {e.name: e for e in entries}
    pairs = [(e, by_name.get(name.removesuffix(f"/{AVERAGE}"))) for name, e in by_name.items()]
    return [(e, v) for e, v in pairs if v is not None and v is not e and e.name not in report.restored]


def _position(proto: Any, kept: Mapping[str, Any], group: ReplicaGroup) -> InputPosition:
    """The position of this rank's input."""
    if is_stream(proto):
        kept_offsets = kept.get("offsets", {})
        row = max((int(row) for _, row in kept.get("positions", ())), default=0)
        return InputPosition(0, row, tuple((int(p), int(offset)) for p, offset in kept_offsets.items()))
    positions = kept.get("positions")
    if (positions is not None) != proto.data_config.file_shard:
        logger.warning("data_config.file_shard has changed: the input starts at its first row")
        return BEGINNING
    if positions is None:
        return InputPosition(int(kept.get("epoch", 0)), int(kept.get("row", 0)))
    if len(positions) != group.size:
        raise CheckpointError(
            "data_config.file_shard: each rank reads its own files, and the checkpoint was written "
            f"by {len(positions)} ranks, but this run has {group.size}; use the same number of ranks, "
            "or set file_shard to false to start the input at its first row"
        )
    epoch, row = positions[group.rank]
    return InputPosition(int(epoch), int(row))


def _is_another(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether an input is known to differ from the one that a position refers to."""
    return _DIGEST in before and before[_DIGEST] != now[_DIGEST]


def _tell_where(checkpoint: str, kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Logs where a run continues, and what has changed since its checkpoint."""
    before, after = kept.get("input", {}), now["input"]
    epoch, row = int(kept.get("epoch", 0)), int(kept.get("row", 0))
    if _is_another(before, after):
        left = f"; the other input was at row {row} of epoch {epoch}" if row else ""
        logger.warning(
            "continuing from %s with another input (%s then, %s now), which is read from its first row%s",
            *(checkpoint, _size(before), _size(after), left),
        )
        return
    logger.info("continuing from %s: epoch %d, row %d of the input", checkpoint, epoch, row)
    if before and _DIGEST not in before:
        logger.info(
            "the checkpoint, written by an older version, doesn't record which input its position "
            "belongs to; it is applied to the current input"
        )
    _warn_of_differences(kept, now)


def _size(described: Mapping[str, Any]) -> str:
    files = int(described["files"])
    unit = "rows" if is_table(str(described["path"])) else "bytes"
    return f"{described['path']}: {files} file{'' if files == 1 else 's'}, {described['size']} {unit}"


def _warn_of_differences(kept: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warns about changes that change the resulting bits, or how often each row is read."""
    changed = [
        f"{name} {kept[name]} before, {now[name]} now"
        for name in _SAME_BITS
        if name in kept and kept[name] != now[name]
    ]
    if changed:
        logger.warning(
            "the run continues in a different environment (%s): all state and the input position "
            "are kept, but sums are computed in another order, so the last bits may differ",
            "; ".join(changed),
        )
    before = kept.get("input", {})
    # An input is identified by its content, so its path may have changed.
    place = ("path", "files", "size", _DIGEST) if _DIGEST in before else ()
    moved = [
        f"{n} {before[n]!r} before, {v!r} now"
        for n, v in now["input"].items()
        if n not in place and before.get(n, v) != v
    ]
    if moved:
        logger.warning(
            "the configuration of the input has changed since the checkpoint (%s): the position is "
            "kept, but if the order of rows has changed, some rows of this "
            "epoch are read twice or not at all",
            "; ".join(moved),
        )
