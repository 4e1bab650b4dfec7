"""The arrays of a packed batch: names, types and shapes, the single definition for the packer, the feed and
serving.

B is the number of rows, bank b holds all embedding tables of one width, and U is the number of distinct rows
of bank b that the batch touches. Positions are indices in ``bank{b}/rows`` plus one.
`hvdrec.features.plan.Bank` describes a bank's slots, and `GroupFeature` the position of a feature.

- ``dense`` float32 [B, D]: numbers, in the plan's column order.
- ``bank{b}/rows`` int32 [U]: the distinct bank rows.
- ``bank{b}/index`` int32 [B, S]: the position of each single-valued slot's id; 0: no id, the zero vector.
- ``bank{b}/multi_index`` int32 [N]: positions of the values of pooled slots, slot by slot, row by row.
- ``bank{b}/multi_segment`` int32 [N]: slot * B + row of each value, ascending.
- ``bank{b}/multi_weight`` float32 [N]: the weight of each value in the data (1 without weights).
- ``lengths`` int32 [B, Q]: elements of each sequence feature in each row.
- ``sequence_row`` int32 [E]: the row of each element, sequence feature by sequence feature.
- ``sequence_numbers`` float32 [X]: the elements of number sequences, feature by feature, `dim` numbers each.
- ``text_words`` int32 [W]: the bytes of texts, text by text, row by row, four in each word, in memory order.
- ``text_lengths`` int32 [B, T]: the bytes of each text.
- ``bank{b}/sequence_index`` int32 [E']: the position of each element, slot by slot.
- ``bank{b}/nested_index`` int32 [N'], ``nested_weight`` float32 [N']: positions and weights of the values
  that the elements of nested slots are pooled from.
- ``bank{b}/nested_segment`` int32 [N']: the element each value belongs to, counted over all nested slots
  of the bank, ascending.
- ``label/<name>`` float32 [B] (or [B, dim]).
- ``sample_weight`` float32 [B], where the config names one.
- ``id/<feature or field>`` int64 [B]: ids of sessions and users; only equality is meaningful.

A negative sampler adds S items (`hvdrec.features.sampled`): the item groups have a second set of arrays for
them, named as above with the prefix ``sampled/``, except ``bank{b}/rows``, which both share. In addition:

- ``sampled/owner`` int32 [S]: the row that an item is a negative of; -1 means all rows. Items of single rows
  come last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hvdrec.features.plan import FeaturePlan

#: The row set of the input rows. The first axis of a row set's arrays is its number of rows.
ROWS = "rows"
#: The row set of the items added by a negative sampler.
SAMPLED = "sampled"
#: The prefix of the names of their arrays.
SAMPLED_PREFIX = "sampled/"
#: In an exported model, in place of the packed texts: string [T, B].
TEXTS = "texts"
#: The row that a sampled item belongs to.
OWNER = "sampled/owner"


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """An array of the batch.

    Attributes:
        name: Its name in `PackedBatch.arrays`.
        part: Its content (`Arrays` in csrc/python/packer_binding.cc).
        dtype: Its type.
        number: The index of the bank, label or id.
        width: The width of an [n, width] array; 0 for a vector.
        row_set: The row set of its first axis; None if the first axis counts values.
    """

    name: str
    part: str
    dtype: type
    number: int = 0
    width: int = 0
    row_set: str | None = None


def packed_arrays(plan: FeaturePlan) -> tuple[ArraySpec, ...]:
    """The arrays of a batch of this plan, as a step takes them."""
    return (*_numbers(plan), *_banks(plan, rows=True), *_targets(plan), *_sampled(plan))


def own_arrays(plan: FeaturePlan) -> tuple[ArraySpec, ...]:
    """The arrays without sampled items: the packer's output for input rows.

    Instead of ``rows``, a bank of tables without a fixed size has ``keys``, ``tables``, the number of each
    key's table, and ``counts``, how often it occurs.
    """
    return (*_numbers(plan), *_banks(plan, rows=False), *_targets(plan))


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
    if plan.packer.texts:
        yield ArraySpec("text_words", "text_words", np.int32)
        yield ArraySpec("text_lengths", "text_lengths", np.int32, width=len(plan.packer.texts), row_set=ROWS)


def _banks(plan: FeaturePlan, rows: bool) -> Iterator[ArraySpec]:
    for b, bank in enumerate(plan.banks):
        parts: list[tuple[str, type]] = [("rows", np.int32)]
        if bank.dynamic and not rows:
            parts = [("keys", np.int64), ("tables", np.int32), ("counts", np.int32)]
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
