import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdrec.data.batch import InputPosition
from hvdrec.data.order import even_share
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import DataError
from tests.data.reading import csv_format, model_epoch, numbers, read, write_files

RANKS = [1, 2, 3, 8]

inputs = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
file_sizes = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


def flat(blocks):
    return list(itertools.chain.from_iterable(blocks))


@pytest.fixture
def big(tmp_path):
    """1,003 rows in 3 files, one of them empty, read in pieces far smaller than they are."""
    sizes = [700, 0, 303]
    return sizes, csv_format(write_files(tmp_path, sizes), block_bytes=300)


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_row_once_over_all_ranks(big, size, shuffle):
    _, data = big
    plan = {"batch_size": 32, "size": size, "shuffle": shuffle, "shuffle_buffer": 100}
    ranks = [read(data, rank=rank, **plan) for rank in range(size)]
    assert sorted(flat(flat(ranks))) == list(range(1003))
    assert len({len(blocks) for blocks in ranks}) == 1
    assert all(len(block) == 32 for blocks in ranks for block in blocks[:-1])


@pytest.mark.parametrize("size", RANKS)
def test_more_ranks_make_the_batches_of_one_with_larger_batches(big, size):
    sizes, data = big
    plan = {"shuffle": True, "shuffle_buffer": 64, "seed": 5, "epochs": 3}
    ranks = [read(data, batch_size=24 // size, rank=r, size=size, **plan) for r in range(size)]
    order = flat(model_epoch(sizes, 5, epoch, True, 64) for epoch in range(3))
    expected = [order[i : i + 24] for i in range(0, len(order), 24)]
    assert read(data, batch_size=24, **plan) == expected
    assert [flat(blocks[k] for blocks in ranks) for k in range(len(ranks[0]))] == expected


@inputs
@given(
    sizes=file_sizes,
    size=st.integers(1, 9),
    batch=st.integers(1, 12),
    epochs=st.integers(1, 4),
    shuffle=st.booleans(),
    buffer=st.integers(1, 90),
    seed=st.integers(0, 9),
    block=st.integers(1, 200),
    drop=st.booleans(),
)
def test_global_batches_follow_the_model(
    tmp_path_factory, sizes, size, batch, epochs, shuffle, buffer, seed, block, drop
):
    data = csv_format(write_files(tmp_path_factory.mktemp("rows"), sizes), block_bytes=block)
    order = flat(model_epoch(sizes, seed, epoch, shuffle, buffer) for epoch in range(epochs))
    step = batch * size
    for rank in range(size):
        plan = ReadPlan(batch, rank, size, epochs, shuffle, buffer, seed, drop_remainder=drop)
        expected = []
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            if len(rows) == step:
                expected.append(rows[rank * batch : (rank + 1) * batch])
            elif not drop:
                low, high = even_share(len(rows), rank, size)
                expected.append(rows[low:high])
        assert numbers(RowSource(data, plan)) == expected


@inputs
@given(
    sizes=file_sizes,
    before=st.integers(1, 5),
    after=st.integers(1, 5),
    batch=st.integers(1, 12),
    shuffle=st.booleans(),
    buffer=st.integers(1, 90),
    consumed=st.integers(0, 30),
)
def test_resuming_gives_the_rest_on_any_number_of_ranks(
    tmp_path_factory, sizes, before, after, batch, shuffle, buffer, consumed
):
    data = csv_format(write_files(tmp_path_factory.mktemp("rows"), sizes), block_bytes=150)
    plan = {"epochs": 3, "shuffle": shuffle, "shuffle_buffer": buffer, "seed": 3}
    order = flat(model_epoch(sizes, 3, epoch, shuffle, buffer) for epoch in range(3))
    source = RowSource(data, ReadPlan(batch, 0, before, **plan))
    positions = [block.position for block in itertools.islice(source, consumed)]
    source.close()
    done = min(len(positions) * batch * before, len(order))
    start = positions[-1] if positions else InputPosition()
    assert (start.epoch, start.row) == divmod(done, sum(sizes))
    ranks = [numbers(RowSource(data, ReadPlan(batch, rank, after, **plan), start)) for rank in range(after)]
    rest = [row for step in range(len(ranks[0])) for blocks in ranks for row in blocks[step]]
    assert rest == order[done:]


@pytest.mark.parametrize("row", [1003, 1004, 2500, 3 * 1003])
def test_positions_past_an_epoch_run_over_into_the_next(big, row):
    sizes, data = big
    plan = ReadPlan(32, epochs=3, shuffle=True, shuffle_buffer=50)
    order = flat(model_epoch(sizes, 0, epoch, True, 50) for epoch in range(3))
    assert flat(numbers(RowSource(data, plan, InputPosition(0, row)))) == order[row:]


def test_a_finished_run_has_nothing_left(big):
    _, data = big
    source = RowSource(data, ReadPlan(32, epochs=2))
    last = list(source)[-1].position
    assert last == InputPosition(2, 0)
    assert list(RowSource(data, ReadPlan(32, epochs=2), last)) == []


def test_epoch_end_marks_the_block_that_finishes_a_pass(tmp_path):
    data = csv_format(write_files(tmp_path, [5, 5]), block_bytes=8)
    for batch, expected in [
        (5, [False, True, False, True]),
        (4, [False, False, True, False, True]),
        (16, [True, True]),
    ]:
        blocks = list(RowSource(data, ReadPlan(batch, epochs=2)))
        assert [block.epoch_end for block in blocks] == expected


def test_no_end_without_num_epochs(big):
    sizes, data = big
    source = RowSource(data, ReadPlan(100, epochs=0, shuffle=True, shuffle_buffer=9))
    blocks = list(itertools.islice(source, 45))
    source.close()
    order = flat(model_epoch(sizes, 0, epoch, True, 9) for epoch in range(5))
    assert flat(numbers(blocks)) == order[:4500]
    assert blocks[-1].position == InputPosition(4, 4500 - 4 * 1003)


@pytest.mark.parametrize("size", RANKS)
def test_evaluation_batches_are_the_same_for_any_number_of_ranks(big, size):
    _, data = big
    whole = read(data, batch_size=100, whole_batches=True)
    assert flat(whole) == list(range(1003))
    ranks = [read(data, batch_size=100, rank=r, size=size, whole_batches=True) for r in range(size)]
    for number, batch in enumerate(whole):
        assert ranks[number % size][number // size] == batch
    assert sum(len(blocks) for blocks in ranks) == len(whole)


@inputs
@given(sizes=file_sizes, size=st.integers(1, 9), batch=st.integers(1, 50), block=st.integers(1, 200))
def test_evaluation_reads_every_row_once(tmp_path_factory, sizes, size, batch, block):
    data = csv_format(write_files(tmp_path_factory.mktemp("rows"), sizes), block_bytes=block)
    ranks = [read(data, batch_size=batch, rank=r, size=size, whole_batches=True) for r in range(size)]
    assert sorted(flat(flat(ranks))) == list(range(sum(sizes)))


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_file_shard_gives_each_rank_its_own_files(tmp_path, size):
    sizes = [10, 4, 0, 7, 9]
    data = csv_format(write_files(tmp_path, sizes), block_bytes=16)
    starts = [0, *itertools.accumulate(sizes)]
    for rank in range(size):
        own = [starts[f] + row for f in range(rank, 5, size) for row in range(sizes[f])]
        rows = flat(read(data, batch_size=3, rank=rank, size=size, shard_files=True, epochs=2))
        assert rows == own + own
        plan = {"shuffle": True, "shuffle_buffer": 4, "epochs": 1}
        rows = flat(read(data, batch_size=3, rank=rank, size=size, shard_files=True, **plan))
        assert sorted(rows) == own


@pytest.mark.parametrize("consumed", [0, 1, 4, 7, 11])
def test_file_shard_resumes_every_rank_from_one_position(tmp_path, consumed):
    data = csv_format(write_files(tmp_path, [10, 4, 5]), block_bytes=16)
    plans = [ReadPlan(3, r, 2, 2, True, 4, shard_files=True) for r in range(2)]
    blocks = [list(RowSource(data, plan)) for plan in plans]
    position = InputPosition(0, 3 * consumed)
    if consumed:
        assert blocks[0][min(consumed, len(blocks[0])) - 1].position == InputPosition(
            0, min(3 * consumed, 30)
        )
    for plan, whole in zip(plans, blocks, strict=True):
        assert numbers(RowSource(data, plan, position)) == numbers(whole[consumed:])


def test_file_shard_of_a_rank_without_rows_ends_at_once(tmp_path):
    data = csv_format(write_files(tmp_path, [5]))
    for epochs in (0, 1):
        assert read(data, batch_size=3, rank=1, size=2, shard_files=True, epochs=epochs) == []


def test_no_row_at_all_is_an_error(tmp_path):
    data = csv_format(write_files(tmp_path, [0, 0]))
    with pytest.raises(DataError, match=r"the input has no rows: .*part-000\.csv, .*part-001\.csv"):
        read(data, batch_size=3, epochs=0)


def test_a_file_that_changes_between_passes_is_noticed(tmp_path):
    paths = write_files(tmp_path, [10])
    source = iter(RowSource(csv_format(paths), ReadPlan(5, epochs=3)))
    next(source)
    next(source)
    with open(paths[0], "a") as file:
        file.write("10,x\n")
    with pytest.raises(DataError, match="10 rows in one pass and 11 in a later one"):
        list(source)


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("buffer", [1, 500, 5000])
def test_rows_held_in_memory_are_bounded(tmp_path, size, buffer):
    data = csv_format(write_files(tmp_path, [60_000] * 2), block_bytes=5000)
    plan = ReadPlan(64, 0, size, 1, True, buffer)
    source = RowSource(data, plan)
    rows = sum(block.columns.num_rows for block in source)
    assert rows == pytest.approx(120_000 / size, abs=64)
    assert source.rows == rows
    # Twice the shuffle buffer and the rows ahead of a global batch, and a few blocks of 500 rows.
    assert source.peak_rows < 2 * (buffer + 64 * size) + 4 * 500


def test_locate_names_file_and_row_in_any_order(tmp_path):
    sizes = [50, 0, 30]
    paths = write_files(tmp_path, sizes)
    for plan in [ReadPlan(7), ReadPlan(7, 1, 3, 2, True, 10), ReadPlan(7, 1, 3, whole_batches=True)]:
        for block in RowSource(csv_format(paths, block_bytes=64), plan):
            for i, at in enumerate(block.columns.column("at").to_pylist()):
                file, row = at.decode().split("-")
                assert block.locate(i) == f"{paths[int(file)]}, row {int(row) + 1}"
