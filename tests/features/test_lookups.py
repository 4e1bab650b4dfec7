"""Which rows of its banks a batch looks up, against the definition of hvdrec.features.layout in Python."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.features.layout import ArraySpec
from hvdrec.features.packer_spec import BankSpec, FeatureSpec, LookupSpec, PackerSpec
from hvdrec.features.plan import Field
from hvdrec.ops.native import load_native

KINDS = ("id", "tag", "sequence", "nested")
PARTS = {
    "index": np.int32,
    "multi_index": np.int32,
    "multi_segment": np.int32,
    "multi_weight": np.float32,
    "sequence_index": np.int32,
    "nested_index": np.int32,
    "nested_segment": np.int32,
    "nested_weight": np.float32,
}
#: A feature's rows: elements, each of several ids. All but "nested" have elements of one.
Rows = list[list[list[int]]]


@dataclasses.dataclass
class Case:
    """Features, the tables that they are looked up in, and batches of cells."""

    kinds: list[str]
    buckets: list[int]
    banks: list[BankSpec]
    lookups: list[LookupSpec]
    batches: list[list[Rows]]

    def packer(self) -> object:
        """The native packer."""
        features = tuple(
            FeatureSpec(
                "sequence" if kind == "nested" else kind,
                (f,),
                num_buckets=n,
                separator="|" if kind == "tag" else ";",
                inner_separator="|" if kind == "nested" else "",
            )
            for f, (kind, n) in enumerate(zip(self.kinds, self.buckets, strict=True))
        )
        arrays = [
            ArraySpec(f"{b}/{part}", part, kind, b)
            for b in range(len(self.banks))
            for part, kind in PARTS.items()
        ] + [ArraySpec(f"{b}/rows", "rows", np.int32, b) for b in range(len(self.banks))]
        fields = tuple(Field(f"f{f}", "STRING", "") for f in range(len(features)))
        spec = PackerSpec(id_features=features, lookups=tuple(self.lookups), banks=tuple(self.banks))
        return load_native().Packer(fields, spec, tuple(arrays))


def expected(case: Case, batch: list[Rows]) -> dict[str, np.ndarray]:
    """Numbers by order of first appearance, lookup by lookup."""
    rows = len(batch[0])
    found: list[dict[int, int]] = [{} for _ in case.banks]
    arrays: dict[str, list] = {f"{b}/{part}": [] for b in range(len(case.banks)) for part in PARTS}
    index = [np.zeros([rows, bank.singles], np.int32) for bank in case.banks]
    elements = [0] * len(case.banks)
    for lookup in case.lookups:
        numbers, b = found[lookup.bank], lookup.bank
        for row, cell in enumerate(batch[lookup.feature]):
            for element in cell:
                for value in element:
                    number = numbers.setdefault(lookup.offset + value, len(numbers) + 1)
                    kind = case.kinds[lookup.feature]
                    if kind == "id":
                        index[b][row, lookup.slot] = number
                    elif kind == "sequence":
                        arrays[f"{b}/sequence_index"].append(number)
                    else:
                        name = f"{b}/{'multi' if kind == 'tag' else 'nested'}"
                        arrays[f"{name}_index"].append(number)
                        arrays[f"{name}_segment"].append(
                            lookup.slot * rows + row if kind == "tag" else elements[b]
                        )
                        arrays[f"{name}_weight"].append(1.0)
                elements[b] += case.kinds[lookup.feature] == "nested"
    result = {name: np.array(values, PARTS[name[2:]]) for name, values in arrays.items()}
    for b, numbers in enumerate(found):
        result[f"{b}/rows"] = np.array(list(numbers), np.int32)
        result[f"{b}/index"] = index[b].reshape(-1)
    return result


def _cell(kind: str, row: list[list[int]]) -> bytes:
    if kind == "nested":
        return ";".join("|".join(map(str, element)) for element in row).encode()
    return (";" if kind == "sequence" else "|").join(str(value) for (value,) in row).encode()


def check(case: Case) -> None:
    packer = case.packer()
    for batch in case.batches:
        columns = [
            pa.array([_cell(kind, row) for row in rows], pa.binary())
            for kind, rows in zip(case.kinds, batch, strict=True)
        ]
        record = pa.RecordBatch.from_arrays(columns, [f"f{f}" for f in range(len(columns))])
        _, arrays, *_ = packer.pack(*record.__arrow_c_array__(), False)
        wanted = expected(case, batch)
        assert arrays.keys() == wanted.keys()
        for name, values in wanted.items():
            assert arrays[name].tobytes() == values.tobytes(), name


def _tables(draw: st.DrawFn, buckets: list[int]) -> tuple[list[BankSpec], list[LookupSpec], list[int]]:
    """Lookups of each feature in its own tables, or in those of a feature with the same number of ids."""
    ends, tables, chosen = [0, 0], [], []
    for _ in range(draw(st.integers(1, 8))):
        feature = draw(st.integers(0, len(buckets) - 1))
        shared = [table for table in tables if table[2] == buckets[feature]]
        if shared and draw(st.booleans()):
            bank, offset, _ = draw(st.sampled_from(shared))
        else:
            bank = draw(st.integers(0, 1))
            offset = ends[bank]
            ends[bank] += buckets[feature]
            tables.append((bank, offset, buckets[feature]))
        chosen.append((feature, bank, offset))
    return ends, chosen  # type: ignore[return-value]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any features, tables and batches; ids of few and of many buckets."""
    count = draw(st.integers(1, 4))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(count)]
    buckets = [draw(st.sampled_from([3, 50, 20_000])) for _ in range(count)]
    ends, chosen = _tables(draw, buckets)  # type: ignore[misc]
    slots: dict[tuple[int, str], int] = {}
    lookups = []
    for feature, bank, offset in chosen:
        slot = slots.setdefault((bank, kinds[feature]), 0)
        slots[bank, kinds[feature]] += 1
        lookups.append(LookupSpec(feature, bank, slot, offset))
    banks = [BankSpec(end, slots.get((b, "id"), 0)) for b, end in enumerate(ends)]
    batches = []
    for rows in draw(st.lists(st.integers(0, 70), min_size=1, max_size=3)):
        generator = np.random.default_rng(draw(st.integers(0, 2**32)))
        batches.append([_rows(generator, k, n, rows) for k, n in zip(kinds, buckets, strict=True)])
    return Case(kinds, buckets, banks, lookups, batches)


def _rows(generator: np.random.Generator, kind: str, buckets: int, rows: int) -> Rows:
    def element() -> list[int]:
        several = generator.integers(1, 4) if kind == "nested" else 1
        return (generator.integers(0, 40, several) * 1013 % buckets).tolist()

    # A sequence's empty cell is one element by EasyRec's rules, which is not what is tried here.
    fewest, most = {"id": (0, 2), "tag": (0, 4)}.get(kind, (1, 4))
    return [[element() for _ in range(generator.integers(fewest, most))] for _ in range(rows)]


@given(case=cases())
@settings(max_examples=150, deadline=None)
def test_rows_are_numbered_lookup_by_lookup(case: Case) -> None:
    check(case)


def test_large_batches_in_large_tables() -> None:
    generator = np.random.default_rng(2)
    batches = [[[[[v]] for v in generator.integers(0, 1_000_000, n).tolist()]] for n in (9000, 10, 9000)]
    lookups = [LookupSpec(0, 0, 0, 0), LookupSpec(0, 0, 1, 1_000_000), LookupSpec(0, 1, 0, 0)]
    check(Case(["id"], [1_000_000], [BankSpec(2_000_000, 2), BankSpec(1_000_000, 1)], lookups, batches))


def test_an_id_that_its_table_does_not_have() -> None:
    case = Case(["id"], [50], [BankSpec(10, 1)], [LookupSpec(0, 0, 0, 0)], [[[[[3]], [[10]]]]])
    with pytest.raises(IndexError, match="id 10 where there are 10"):
        check(case)
