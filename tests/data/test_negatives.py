"""Negative samplers: their tables, what they draw, and batches with the items drawn."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data.batch import InputPosition, RowBlock
from hvdrec.data.negatives import items
from hvdrec.data.negatives import sampler as samplers
from hvdrec.data.negatives.items import read_items
from hvdrec.data.negatives.sampler import Drawn, Sampler, Stream, open_sampler
from hvdrec.data.negatives.tables import are_whole_numbers, read_edges, whole_numbers
from hvdrec.errors import ConfigError, DataError
from hvdrec.features import Packer, build_plan
from hvdrec.features.sampled import SampledPacker
from hvdrec.ops.native import load_native

ITEMS = 50
CONFIG = """
data_config {
  input_type: CSVInput batch_size: 4 label_fields: "clk" %s
  input_fields { input_name: "clk" input_type: INT32 }
  input_fields { input_name: "user" input_type: INT64 }
  input_fields { input_name: "item" input_type: INT64 }
  input_fields { input_name: "brand" input_type: STRING }
  input_fields { input_name: "price" input_type: DOUBLE }
  input_fields { input_name: "tags" input_type: STRING }
}
feature_configs { input_names: "user" feature_type: IdFeature embedding_dim: 4 num_buckets: 100 }
feature_configs { input_names: "item" feature_type: IdFeature embedding_dim: 4 num_buckets: 500 }
feature_configs {
  input_names: "brand" feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 30 embedding_name: "brand"
}
feature_configs { input_names: "price" feature_type: RawFeature }
feature_configs {
  input_names: "tags" feature_type: TagFeature embedding_dim: 4 hash_bucket_size: 30 separator: "|"
}
model_config {
  model_class: "DSSM" loss_type: SOFTMAX_CROSS_ENTROPY
  feature_groups { group_name: "user" feature_names: "user" wide_deep: DEEP }
  feature_groups {
    group_name: "item" feature_names: "item" feature_names: "brand" feature_names: "price" feature_names: "tags"
    wide_deep: DEEP
  }
  dssm {
    user_tower { id: "user" dnn { hidden_units: 4 } } item_tower { id: "item" dnn { hidden_units: 4 } }
    l2_regularization: 0
  }
}
"""
ATTRIBUTES = " ".join(f'attr_fields: "{name}"' for name in ("item", "brand", "price", "tags"))


def write_tables(folder: pathlib.Path) -> None:
    rows = [
        f"{100 + i}\t{0 if i == 7 else 1 + i % 3}\t{100 + i}:b{i % 5}:{i}.5:t{i % 4}|u" for i in range(ITEMS)
    ]
    (folder / "items.txt").write_text("id:int64\tweight:float\tfeature:string\n" + "\n".join(rows) + "\n")
    (folder / "users.txt").write_text("id:int64\tweight:float\n" + "".join(f"{u}\t1\n" for u in range(10)))
    edges = [f"{u}\t{100 + (u + k) % ITEMS}\t1" for u in range(10) for k in range(40)]
    (folder / "edges.txt").write_text("userid:int64\titemid:int64\tweight:float\n" + "\n".join(edges) + "\n")
    hard = [f"{u}\t{item}\t1" for u in (1, 3) for item in (149, 120, 999, 130, 121)]
    (folder / "hard.txt").write_text("src:int64\tdst:int64\tweight:float\n" + "\n".join(hard) + "\n")


def sampler(folder: pathlib.Path, kind: str, count: int = 6, training: bool = True, rank: int = 0) -> Sampler:
    found = open_sampler(config(folder, kind, count), training, rank)
    assert found is not None
    return found


def config(folder: pathlib.Path, kind: str, count: int) -> pipeline_pb2.EasyRecConfig:
    write_tables(folder)
    files = {
        "negative_sampler": f'input_path: "{folder}/items.txt"',
        "negative_sampler_in_memory": f'input_path: "{folder}/items.txt"',
    }
    base = (
        f'user_input_path: "{folder}/users.txt" item_input_path: "{folder}/items.txt" user_id_field: "user" '
    )
    positive, hard = (
        f'pos_edge_input_path: "{folder}/edges.txt" ',
        f'hard_neg_edge_input_path: "{folder}/hard.txt" ',
    )
    files["negative_sampler_v2"] = base + positive
    files["hard_negative_sampler"] = base + hard + "num_hard_sample: 3"
    files["hard_negative_sampler_v2"] = base + positive + hard + "num_hard_sample: 3"
    text = f'{kind} {{ {files[kind]} num_sample: {count} num_eval_sample: 2 item_id_field: "item" {ATTRIBUTES} }}'
    proto = pipeline_pb2.EasyRecConfig()
    text_format.Parse(CONFIG % text, proto, allow_unknown_field=False)
    return proto


def rows(users: list[int], items: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "user": pa.array([str(u).encode() for u in users], pa.binary()),
            "item": pa.array([str(i).encode() for i in items], pa.binary()),
        }
    )


def drawn_at(sampler_: Sampler, users: list[int], items: list[int], row: int = 4) -> Drawn:
    return sampler_.draw(rows(users, items), InputPosition(1, row), lambda i: f"row {i}")


def ids(sampler_: Sampler, drawn: Drawn) -> np.ndarray:
    return sampler_.table.ids[drawn.places]


def test_by_weight(tmp_path: pathlib.Path) -> None:
    """Items come as often as their weights say; those of the batch and of weight 0 never do."""
    found = sampler(tmp_path, "negative_sampler", count=40_000)
    drawn = ids(found, drawn_at(found, [1, 2], [100, 105]))
    counts = np.bincount(drawn - 100, minlength=ITEMS)
    weights = np.array([0.0 if i == 7 else 1.0 + i % 3 for i in range(ITEMS)])
    weights[[0, 5]] = 0
    expected = weights / weights.sum() * len(drawn)
    assert not counts[weights == 0].any()
    # Chi-square with 46 degrees of freedom: beyond 90 once in 10,000 seeds.
    assert np.sum((counts - expected)[weights > 0] ** 2 / expected[weights > 0]) < 90


def test_where_all_are_excluded_some_are_drawn(tmp_path: pathlib.Path) -> None:
    found = sampler(tmp_path, "negative_sampler")
    everything = list(range(100, 150))
    assert len(drawn_at(found, everything, everything).places) == 6
    but_one = [item for item in everything if item != 131]
    assert set(ids(found, drawn_at(found, but_one, but_one)).tolist()) == {131}


def test_draws_depend_on_place_seed_and_rank(tmp_path: pathlib.Path) -> None:
    first = sampler(tmp_path, "negative_sampler", count=30)
    again, other = (sampler(tmp_path, "negative_sampler", count=30, rank=rank) for rank in (0, 1))
    places = drawn_at(first, [1], [100]).places.tolist()
    assert drawn_at(again, [1], [100]).places.tolist() == places
    assert drawn_at(other, [1], [100]).places.tolist() != places
    assert drawn_at(first, [1], [100], row=8).places.tolist() != places
    seeds = {
        Stream(seed, rank, training).at(InputPosition(epoch, row))
        for seed in (1, 2)
        for rank in (0, 1)
        for training in (False, True)
        for epoch in (0, 1)
        for row in (0, 4)
    }
    assert len(seeds) == 32


def test_for_users(tmp_path: pathlib.Path) -> None:
    """Draw k is for row k / ceil(samples / rows), whose user has no edge to it."""
    found = sampler(tmp_path, "negative_sampler_v2", count=600)
    drawn = ids(found, drawn_at(found, [2, 9, 77], [100, 101, 102]))
    assert not set(drawn[:200].tolist()) & {100 + (2 + k) % ITEMS for k in range(40)}
    assert not set(drawn[200:400].tolist()) & {100 + (9 + k) % ITEMS for k in range(40)}
    assert set(drawn[200:400].tolist()) == {100 + (9 + k) % ITEMS for k in range(40, 50)} - {107}
    # A user without edges may have anything.
    assert len(set(drawn[400:].tolist())) > 40


def test_in_memory(tmp_path: pathlib.Path) -> None:
    """Distinct items, each as likely, whatever the weights."""
    found = sampler(tmp_path, "negative_sampler_in_memory", count=6)
    counts = np.zeros(ITEMS)
    for row in range(2000):
        drawn = ids(found, drawn_at(found, [1, 1], [100, 105], row))
        assert len(set(drawn.tolist())) == 6
        counts += np.bincount(drawn - 100, minlength=ITEMS)
    assert counts[0] == counts[5] == 0
    expected = 12_000 / 48
    assert np.sum((np.delete(counts, [0, 5]) - expected) ** 2 / expected) < 95
    with pytest.raises(DataError, match="50 items, fewer than num_sample"):
        sampler(tmp_path, "negative_sampler_in_memory", count=47)


@pytest.mark.parametrize("kind", ["hard_negative_sampler", "hard_negative_sampler_v2"])
def test_hard_negatives(kind: str, tmp_path: pathlib.Path) -> None:
    """A row's first edges follow, in their order; edges to unknown items are left out."""
    found = sampler(tmp_path, kind)
    drawn = drawn_at(found, [3, 5, 1, 3], [100, 101, 102, 103])
    assert drawn.owners.tolist() == [-1] * 6 + [0, 0, 0, 2, 2, 2, 3, 3, 3]
    assert ids(found, drawn)[6:].tolist() == [149, 120, 130] * 3


def test_evaluation_draws_its_own_number(tmp_path: pathlib.Path) -> None:
    found = sampler(tmp_path, "negative_sampler", training=False)
    assert len(drawn_at(found, [1], [100]).places) == 2


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("17x\t1\t1:b:1:t", "row 3, column id:int64: '17x' is not a 64-bit integer"),
        ("99999999999999999999\t1\t1:b:1:t", "row 3, column id:int64"),
        ("\t1\t1:b:1:t", "row 3, column id:int64: an empty cell is not a 64-bit integer"),
        ("17\tmuch\t1:b:1:t", "row 3, column weight:float: 'much' is not a number"),
        ("17\t-1\t1:b:1:t", "row 3, column weight:float: a weight must be at least 0, is '-1'"),
        ("17\tnan\t1:b:1:t", "row 3, column weight:float: a weight must be at least 0"),
        (
            "17\t1\t1:b:1",
            "row 3, column feature:string: 3 attributes separated by ':', but attr_fields names 4",
        ),
        ("17\t1", "row 3: found 2 columns, expected 3, separated by tabs"),
    ],
)
def test_a_wrong_item_is_named(line: str, wrong: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "items.txt"
    path.write_text(f"id:int64\tweight:float\tfeature:string\n1\t1\t1:b:1:t\n{line}\n")
    with pytest.raises(DataError) as error:
        read_items(str(path), "input_path", ["item", "brand", "price", "tags"], ":")
    assert str(error.value).startswith(f"{path}, {wrong}")


def test_wrong_tables_are_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("id:int64\n1\n")
    with pytest.raises(DataError, match=r"table.txt, row 1: no column is named weight"):
        read_items(str(path), "input_path", ["a"], ":")
    path.write_text("id:int64\tweight:float\tfeature:string\n")
    with pytest.raises(DataError, match="has no items"):
        read_items(str(path), "input_path", ["a"], ":")
    path.write_text("user\titem\tweight\n1\t2\t1\n1\ttwo\t1\n")
    with pytest.raises(DataError, match=r"table.txt, row 3, column item: 'two' is not a 64-bit integer"):
        read_edges(str(path), "edges")
    with pytest.raises(DataError, match="no such file"):
        read_edges(str(tmp_path / "none"), "edges")


def test_a_row_without_an_id_is_named(tmp_path: pathlib.Path) -> None:
    found = sampler(tmp_path, "negative_sampler")
    columns = pa.RecordBatch.from_pydict({"item": pa.array([b"100", b"x1"], pa.binary())})
    with pytest.raises(DataError, match="row 1, column item: 'x1' is not a 64-bit integer"):
        found.draw(columns, InputPosition(), lambda i: f"row {i}")


def block() -> RowBlock:
    columns = {
        "clk": ["1", "0", "1"],
        "user": ["1", "3", "5"],
        "item": ["100", "101", "102"],
        "brand": ["b1", "b9", "b2"],
        "price": ["1", "2", "3"],
        "tags": ["t1", "", "x|y"],
    }
    arrays = {name: pa.array([v.encode() for v in values], pa.binary()) for name, values in columns.items()}
    return RowBlock(pa.RecordBatch.from_pydict(arrays), lambda i: f"row {i}", InputPosition(0, 3))


def test_sampled_items_are_packed_as_rows_are(tmp_path: pathlib.Path) -> None:
    """Each sampled item's ids and numbers are those of a row with its attributes; no bank row is there twice."""
    proto = config(tmp_path, "hard_negative_sampler", 6)
    plan = build_plan(proto)
    assert plan.sampled is not None
    found = open_sampler(proto, True, 0)
    assert found is not None
    given = block()
    given = RowBlock(given.columns.select([f.name for f in plan.fields]), given.locate, given.position)
    batch = SampledPacker(plan, found, False).pack_block(given)
    alone = Packer(plan).pack_block(given)
    drawn = found.draw(given.columns, given.position, given.locate)
    assert batch.rows == 3
    assert set(batch.arrays) == {spec.name for spec in plan.arrays}
    assert batch.arrays["sampled/owner"].tolist() == [-1] * 6 + [0, 0, 0, 1, 1, 1]
    for name, array in alone.arrays.items():
        if not name.endswith("/rows"):
            np.testing.assert_array_equal(batch.arrays[name], array, err_msg=name)
    bank = batch.arrays["bank0/rows"]
    assert len(set(bank.tolist())) == len(bank)
    np.testing.assert_array_equal(bank[: len(alone.arrays["bank0/rows"])], alone.arrays["bank0/rows"])

    columns = found.table.columns(drawn.places)
    count = len(drawn.places)
    padded = {"clk": ["0"] * count, "user": ["1"] * count}
    arrays = {name: pa.array([v.encode() for v in values], pa.binary()) for name, values in padded.items()}
    arrays |= {name: columns.column(name) for name in columns.schema.names}
    as_rows = pa.RecordBatch.from_pydict({f.name: arrays[f.name] for f in plan.fields})
    _, expected = Packer(plan).pack(as_rows, lambda i: f"item {i}")
    np.testing.assert_array_equal(batch.arrays["sampled/dense"], expected["dense"])
    group = plan.groups["item"].features
    mine = plan.sampled.groups["item"].features
    for there, here in zip(group, mine, strict=True):
        if there.kind.value == "single":
            want = expected["bank0/rows"][expected["bank0/index"][:, there.position] - 1]
            got = bank[batch.arrays["sampled/bank0/index"][:, here.position] - 1]
            np.testing.assert_array_equal(got, want, err_msg=there.feature)
    want = expected["bank0/rows"][expected["bank0/multi_index"] - 1]
    np.testing.assert_array_equal(bank[batch.arrays["sampled/bank0/multi_index"] - 1], want)
    np.testing.assert_array_equal(
        batch.arrays["sampled/bank0/multi_segment"], expected["bank0/multi_segment"]
    )


def test_a_bad_attribute_is_named_by_its_line(tmp_path: pathlib.Path) -> None:
    proto = config(tmp_path, "negative_sampler", 60)
    path = tmp_path / "other.txt"
    path.write_text("id:int64\tweight:float\tfeature:string\n200\t1\t200:b:dear:t\n")
    proto.data_config.negative_sampler.input_path = str(path)
    plan = build_plan(proto)
    found = open_sampler(proto, True, 0)
    assert found is not None
    given = block()
    given = RowBlock(given.columns.select([f.name for f in plan.fields]), given.locate, given.position)
    with pytest.raises(DataError, match=r"other.txt, row 2, column 'price': 'dear'"):
        SampledPacker(plan, found, False).pack_block(given)


@pytest.mark.parametrize("kind", ["negative_sampler", "negative_sampler_v2", "hard_negative_sampler"])
def test_ids_that_nothing_can_be_drawn_for_are_bad_rows(tmp_path: pathlib.Path, kind: str) -> None:
    proto = config(tmp_path, kind, 6)
    plan = build_plan(proto)
    found = open_sampler(proto, True, 0)
    assert found is not None
    names = [f.name for f in plan.fields]
    rows = block().columns.select(names).to_pydict()
    for name in found.id_fields:
        rows[name] = [b"1", b"x", b"99999999999999999999"]
    columns = pa.RecordBatch.from_arrays([pa.array(rows[n], pa.binary()) for n in names], names)
    given = RowBlock(columns, lambda i: f"row {i}", InputPosition(0, 3))
    with pytest.raises(DataError, match="row 1"):
        SampledPacker(plan, found, False).pack_block(given)
    batch = SampledPacker(plan, found, True).pack_block(given)
    assert (batch.rows, batch.bad_rows) == (1, 2)
    assert batch.first_bad is not None
    assert batch.first_bad.startswith("row 1, column ")
    assert batch.locate is not None
    assert batch.locate(0) == "row 0"


def test_attributes_must_be_all_that_items_read(tmp_path: pathlib.Path) -> None:
    proto = config(tmp_path, "negative_sampler", 6)
    proto.data_config.negative_sampler.attr_fields.remove("price")
    with pytest.raises(ConfigError, match="the item features also read price"):
        build_plan(proto)


def test_merge_of_distinct_numbers() -> None:
    first, second = np.array([5, 2, 9], np.int32), np.array([9, 1, 5, 7], np.int32)
    for limit in (10, 1 << 20):
        both, places = load_native().merge_distinct(first, second, limit)
        assert both.tolist() == [5, 2, 9, 1, 7]
        assert places.tolist() == [3, 4, 1, 5]


def test_ids_in_any_type_of_a_file() -> None:
    """Pandas makes a column of integers with a null one of doubles."""
    for column in (
        pa.array([5.0, 2.0**53]),
        pa.array([5, 2**53], pa.uint64()),
        pa.array([5, 2**53], pa.int64()),
        pa.array(["5", str(2**53)]),
    ):
        assert whole_numbers(column, "user", "row {}".format).tolist() == [5, 2**53]
        assert are_whole_numbers(column).all()
    for column, problem in (
        (pa.array([5.0, 2.5]), "row 1, column user: '2.5' is not"),
        (pa.array([5.0, None]), "row 1, column user: an empty cell is not"),
        (pa.array([5, 2**63], pa.uint64()), f"row 1, column user: '{2**63}' is not"),
        (pa.array([5.0, np.nan]), "row 1, column user: 'nan' is not"),
    ):
        assert are_whole_numbers(column).tolist() == [True, False]
        with pytest.raises(DataError, match=problem):
            whole_numbers(column, "user", "row {}".format)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, -1.0], [np.nan, 1.0]])
def test_weights_that_cannot_be_drawn_by(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        load_native().fill_alias_table(np.array(weights, np.float32), np.zeros(2, np.uint64))


def test_a_table_is_packed_once_and_removed_by_its_last_user(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables(tmp_path)
    monkeypatch.setenv("HVDREC_WORK_DIR", str(tmp_path / "work"))
    path, names = str(tmp_path / "items.txt"), ("item", "brand", "price", "tags")
    first = read_items(path, "items", names, ":")
    drawn = first.sampler(weighted=True).by_weight(np.zeros(0, np.int64), 7, 20)
    with monkeypatch.context() as patch:
        # Whoever comes later neither packs nor makes an alias table.
        patch.setattr(items, "_pack", None)
        patch.setattr(items, "_make_alias_table", None)
        second = read_items(path, "items", names, ":")
        assert (
            second.sampler(weighted=True).by_weight(np.zeros(0, np.int64), 7, 20).tolist() == drawn.tolist()
        )
    assert second.folder.path == first.folder.path
    assert second.columns(drawn) == first.columns(drawn)
    assert second.where(3) == f"{path}, row 5"
    with open(path, "a") as file:
        file.write("200\t1\t200:b:1.5:t\n")
    other = read_items(path, "items", names, ":")
    assert other.folder.path != first.folder.path
    assert len(other.ids) == len(first.ids) + 1
    for table in (first, second, other):
        assert table.folder.path.is_dir()
        table.folder.close()
    assert list((tmp_path / "work").iterdir()) == []


def test_places_of_ids_are_the_first() -> None:
    rng = np.random.default_rng(2)
    ids, wanted = rng.integers(0, 50, 200), rng.integers(0, 70, 90)
    first = {int(id_): place for place, id_ in reversed(list(enumerate(ids)))}
    for part in (7, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(samplers, "_PART", part)
            assert samplers._places_of(wanted, ids).tolist() == [first.get(int(w), -1) for w in wanted]
