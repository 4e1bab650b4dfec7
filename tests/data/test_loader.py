import gc
import math
import threading
import time

import numpy as np
import pytest

from hvdrec.data import loader as loader_module
from hvdrec.data.batch import InputPosition, PackedBatch
from hvdrec.data.loader import Loader, _Queue
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import DataError
from tests.data.reading import csv_format, write_files


def pack(block):
    values = np.array([int(v) for v in block.columns.column(0).to_pylist()], np.float32)
    return PackedBatch(len(values), {"dense": values})


def threads():
    return [t for t in threading.enumerate() if t.name in ("hvdrec-read", "hvdrec-pack")]


def wait_until(condition):
    for _ in range(6000):
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture(autouse=True)
def no_thread_left():
    yield
    gc.collect()
    assert wait_until(lambda: not threads()), threads()


@pytest.fixture
def source(tmp_path):
    paths = write_files(tmp_path, [1000])

    def build(batch_size=10, **plan):
        return RowSource(csv_format(paths, block_bytes=500), ReadPlan(batch_size, **plan))

    return build


def test_batches_in_order_with_positions_and_places(source):
    with Loader(source(300), pack, prefetch=2) as loader:
        batches = list(loader)
    assert [batch.rows for batch in batches] == [300, 300, 300, 100]
    assert np.concatenate([batch.arrays["dense"] for batch in batches]).tolist() == list(range(1000))
    assert [batch.position for batch in batches] == [
        *(InputPosition(0, row) for row in (300, 600, 900)),
        InputPosition(1, 0),
    ]
    assert batches[1].locate(4).endswith("part-000.csv, row 305")
    assert batches[0].raw is None
    stats = loader.stats()
    assert (stats.rows, stats.batches, stats.bad_rows) == (1000, 4, 0)


def test_ranks_without_rows_get_empty_batches(source):
    with Loader(source(1000, rank=1, size=2, epochs=1), pack) as loader:
        assert [batch.rows for batch in loader] == [500]
    with Loader(source(1, rank=6, size=7, epochs=1), pack) as loader:
        assert [batch.rows for batch in loader][-1] == 0


def test_bad_rows_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,a\n2\n3,b\n")
    plan = ReadPlan(2, ignore_error=True)
    with Loader(RowSource(csv_format([str(path)]), plan), pack) as loader:
        assert sum(batch.rows for batch in loader) == 2
    assert loader.stats().bad_rows == 1
    assert loader.stats().first_bad.endswith(
        "a.csv, row 2: found 1 columns, expected 2; check data_config.separator, which is ','"
    )


def test_rows_read_ahead_are_not_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,a\n2\n3,b\n4,c\n5\n")
    plan = ReadPlan(5, epochs=0, ignore_error=True)
    with Loader(RowSource(csv_format([str(path)]), plan), pack) as loader:
        for _ in range(3):
            next(loader)
        stats = loader.stats()
    assert (stats.rows, stats.bad_rows) == (9, 6)


def test_rows_that_packing_leaves_out_are_counted_too(source, caplog):
    def picky(block):
        batch = pack(block)
        if block.position.row == 500:
            batch.bad_rows, batch.first_bad = 3, f"{block.locate(0)}, a bad cell"
        return batch

    with Loader(source(100), picky) as loader:
        assert sum(1 for _ in loader) == 10
    assert loader.stats().bad_rows == 3
    assert loader.stats().first_bad.endswith("row 401, a bad cell")
    assert "skipping" in caplog.text


def test_no_more_than_prefetch_batches_lie_ready(source):
    packed = []

    def counting(block):
        packed.append(block)
        return pack(block)

    with Loader(source(10, epochs=0), counting, prefetch=3) as loader:
        assert wait_until(lambda: len(packed) == 4)
        for taken in range(1, 51):
            next(loader)
            # Three ready, one in the packer's hand.
            assert len(packed) <= taken + 4
        assert loader.stats().peak_batches == 3
        assert loader.stats().peak_rows < 2000


def test_an_error_while_packing_comes_after_the_batches_before_it(source):
    def failing(block):
        if block.position.row == 50:
            raise DataError(f"{block.locate(0)}: a bad value")
        return pack(block)

    with Loader(source(), failing) as loader:
        got = []
        with pytest.raises(DataError, match=r"row 41: a bad value"):
            got.extend(batch.rows for batch in loader)
        with pytest.raises(DataError):
            next(loader)
    assert loader.stats().rows == 40


def test_an_error_while_reading_comes_through(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,a\n" * 20_000 + "1\n")
    with Loader(RowSource(csv_format([str(path)], block_bytes=500), ReadPlan(8)), pack) as loader:
        with pytest.raises(DataError, match="row 20001"):
            for _ in loader:
                pass
        assert loader.stats().rows > 0


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_close_midway_ends_the_threads(source, taken):
    loader = Loader(source(epochs=0), pack, prefetch=2)
    for _ in range(taken):
        next(loader)
    assert threads()
    loader.close()
    assert not threads()
    assert list(loader) == []
    loader.close()


def test_a_forgotten_loader_closes_itself(source):
    loader = Loader(source(epochs=0), pack, prefetch=2)
    next(loader)
    del loader
    gc.collect()
    assert wait_until(lambda: not threads())


def test_close_while_the_consumer_waits(source):
    release = threading.Event()

    def slow(block):
        release.wait(60)
        return pack(block)

    loader = Loader(source(), slow)
    got = []
    consumer = threading.Thread(target=lambda: got.extend(loader))
    consumer.start()
    closer = threading.Thread(target=loader.close)
    closer.start()
    consumer.join(30)
    assert not consumer.is_alive()
    release.set()
    closer.join(30)
    assert got == []


def test_a_long_wait_is_told(source, caplog, monkeypatch):
    monkeypatch.setattr(loader_module, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(loader_module, "_TELL_SECONDS", 0.02)
    caplog.set_level("INFO")
    release = threading.Event()

    def slow(block):
        release.wait(60)
        return pack(block)

    def told():
        return sum("its rows are still being read" in record.message for record in caplog.records)

    def let_go():
        wait_until(lambda: told() >= 3)
        release.set()

    began = time.monotonic()
    threading.Thread(target=let_go).start()
    with Loader(source(1), slow) as loader:
        assert next(loader).rows == 1
    # At 0.02, 0.04, 0.08, ... seconds.
    assert 3 <= told() <= math.log2((time.monotonic() - began) / 0.01)


def test_queue_bounds_bytes_but_lets_one_item_in():
    queue = _Queue(10, 100)
    queue.put("huge", 1000)
    done = []
    thread = threading.Thread(target=lambda: (queue.put("next", 60), queue.put("third", 60), done.append(1)))
    thread.start()
    assert not done
    assert queue.get() == "huge"
    assert not done
    assert queue.get() == "next"
    thread.join(30)
    assert done
    assert queue.peak_items == 1
