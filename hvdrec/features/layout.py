"""The arrays of a packed batch: names, types and shapes, stated once for the packer, the feed and serving.

B is the number of rows, bank b holds all embedding tables of one width, U the distinct rows of bank b that
the batch touches. Positions are places in ``bank{b}/rows`` plus one. What a bank's slots are is listed
in `hvdrec.features.plan.Bank`; where a feature lies, in `GroupFeature`.

- ``dense`` float32 [B, D]: numbers, columns as the plan lays them out.
- ``bank{b}/rows`` int32 [U]: the distinct bank rows, no repeats.
- ``bank{b}/index`` int32 [B, S]: the position of each single-valued slot's id; 0: no id, the zero vector.
- ``bank{b}/multi_index`` int32 [N]: positions of the values of pooled slots, slot by slot, row by row.
- ``bank{b}/multi_segment`` int32 [N]: slot * B + row of each value, ascending.
- ``bank{b}/multi_weight`` float32 [N]: the weight of each value as the data have it (1 without weights).
- ``lengths`` int32 [B, Q]: elements of each sequence feature in each row.
- ``sequence_row`` int32 [E]: the row of each element, sequence feature by sequence feature.
- ``sequence_numbers`` float32 [X]: the elements of number sequences, feature by feature, `dim` numbers each.
- ``bank{b}/sequence_index`` int32 [E']: the position of each element, slot by slot.
- ``bank{b}/nested_index`` int32 [N'], ``nested_weight`` float32 [N']: positions and weights of the values
  that the elements of nested slots are pooled from.
- ``bank{b}/nested_segment`` int32 [N']: the element each value belongs to, counted over all nested slots
  of the bank, ascending.
- ``label/<name>`` float32 [B] (or [B, dim]).
- ``sample_weight`` float32 [B], where the config names one.
- ``id/<feature or field>`` int64 [B]: ids of sessions and users; only equality means anything.

With a negative sampler there are more items than rows, S of them (`hvdrec.features.sampled`): the groups of
items have their arrays once more for those, by the names above with ``sampled/`` before them, but for
``bank{b}/rows``, which serves both. Besides

- ``sampled/owner`` int32 [S]: the row that an item is a negative of; -1: of all rows. Those of one row come
  last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hvdrec.features.plan import FeaturePlan

#: The row set of the rows that were read. Arrays of a row set have its count as their first axis.
ROWS = "rows"
#: The row set of items that a negative sampler added.
SAMPLED = "sampled"
#: Before the names of their arrays.
SAMPLED_PREFIX = "sampled/"
#: Which row a sampled item belongs to.
OWNER = "sampled/owner"


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """One array.

    Attributes:
        name: In `PackedBatch.arrays`.
        part: What the packer puts there (`Arrays` in csrc/python/packer_binding.cc).
        dtype: Its type.
        number: Which bank, label or id.
        width: Of an [n, width] array; 0: a vector.
        row_set: The row set that its first axis counts; None: it counts values.
    """

    name: str
    part: str
    dtype: type
    number: int = 0
    width: int = 0
    row_set: str | None = None


def packed_arrays(plan: FeaturePlan) -> tuple[ArraySpec, ...]:
    """The arrays that a batch of this plan has."""
    return (*own_arrays(plan), *_sampled(plan))


def own_arrays(plan: FeaturePlan) -> tuple[ArraySpec, ...]:
    """Those without sampled items: what the packer makes of rows."""
    return (*_numbers(plan), *_banks(plan), *_targets(plan))


def _sampled(plan: FeaturePlan) -> Iterator[ArraySpec]:
    if plan.sampled is None:
        return
    yield ArraySpec(OWNER, "owner", np.int32, row_set=SAMPLED)
    for spec in own_arrays(plan.sampled):
        if spec.part != "rows":
            row_set = SAMPLED if spec.row_set else None
            yield dataclasses.replace(spec, name=f"{SAMPLED_PREFIX}{spec.name}", row_set=row_set)


def _numbers(plan: FeaturePlan) -> Iterator[ArraySpec]:
    if plan.dense_dim:
        yield ArraySpec("dense", "dense", np.float32, width=plan.dense_dim, row_set=ROWS)
    if plan.packer.sequences:
        count = len(plan.packer.sequences)
        yield ArraySpec("lengths", "lengths", np.int32, width=count, row_set=ROWS)
        yield ArraySpec("sequence_row", "sequence_row", np.int32)
    if plan.packer.number_sequences:
        yield ArraySpec("sequence_numbers", "sequence_numbers", np.float32)


def _banks(plan: FeaturePlan) -> Iterator[ArraySpec]:
    for b, bank in enumerate(plan.banks):
        parts: list[tuple[str, type]] = [("rows", np.int32)]
        if bank.pooled:
            parts += [("multi_index", np.int32), ("multi_segment", np.int32), ("multi_weight", np.float32)]
        if bank.sequences:
            parts.append(("sequence_index", np.int32))
        if bank.nested:
            parts += [("nested_index", np.int32), ("nested_segment", np.int32), ("nested_weight", np.float32)]
        yield from (ArraySpec(f"bank{b}/{part}", part, dtype, b) for part, dtype in parts)
        if bank.singles:
            yield ArraySpec(f"bank{b}/index", "index", np.int32, b, bank.singles, ROWS)


def _targets(plan: FeaturePlan) -> Iterator[ArraySpec]:
    for i, (label, dim) in enumerate(zip(plan.labels, plan.label_dims, strict=True)):
        yield ArraySpec(f"label/{label}", "label", np.float32, i, dim if dim > 1 else 0, ROWS)
    if plan.has_sample_weight:
        yield ArraySpec("sample_weight", "sample_weight", np.float32, row_set=ROWS)
    for i, name in enumerate(plan.ids):
        yield ArraySpec(f"id/{name}", "id", np.int64, i, row_set=ROWS)
