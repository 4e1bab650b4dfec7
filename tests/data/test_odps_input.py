"""Rows of MaxCompute's tables, from a fake of its tunnel."""

import itertools
import os

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage.tunnel import KEY, SECRET, tunnel

from hvdrec.data.odps_input import OdpsFormat
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import ConfigError, DataError, StorageError, StoreGoneError
from hvdrec.storage import maxcompute, retries
from tests.data.reading import check_order, columns, numbers

inputs = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def service():
    pytest.importorskip("odps", reason="pyodps isn't installed: make build")
    with tunnel() as state:
        yield state


@pytest.fixture
def reached(service, monkeypatch):
    """The stand-in, with nothing in it, reached from this process."""
    service.tables.clear()
    service.requests.clear()
    service.faults.clear()
    for name in [name for name in os.environ if name.startswith(("ODPS_", "ALIBABA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("ODPS_ENDPOINT", f"http://{service.address}")
    monkeypatch.setenv(retries.VARIABLE, "20")
    monkeypatch.setattr(retries, "_given_up", set())
    return service


def path_of(table):
    return f"odps://project/tables/{table}"


def odps_format(names, wanted=("n", "at"), **options):
    found = maxcompute.tables([path_of(name) for name in names], "train_input_path")
    return OdpsFormat(found, columns(*wanted), **options)


def put_rows(service, sizes, padding=""):
    """Tables of rows (n: row number over all tables, at: "<table>-<row>" and the padding)."""
    number = itertools.count()
    for i, size in enumerate(sizes):
        at = pa.array([f"{i}-{row}{padding}" for row in range(size)], pa.string())
        n = pa.array([next(number) for _ in range(size)], pa.int64())
        service.tables[f"t{i}", ""] = pa.table({"at": at, "n": n})
    return [f"t{i}" for i in range(len(sizes))]


@inputs
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=4).filter(any),
    block=st.integers(1, 30),
    blocks=st.integers(1, 3),
    size=st.integers(1, 4),
    batch=st.integers(1, 12),
    shuffle=st.booleans(),
    buffer=st.integers(1, 120),
)
def test_the_order_is_that_of_text_files(reached, sizes, block, blocks, size, batch, shuffle, buffer):
    names = put_rows(reached, sizes)
    data = odps_format(names, block_rows=block, stretch_rows=block * blocks)
    check_order(data, sizes, batch, size, shuffle, buffer, [path_of(name) for name in names])


def test_columns_go_by_name_and_keep_their_types(reached):
    reached.tables["t", "ds=20200101,hh=03"] = pa.table(
        {
            "more": ["x", "y"],
            "flag": [True, None],
            "price": [0.5, None],
            "ids": pa.array([[1, 2], []], pa.list_(pa.int64())),
            "label": pa.array([1, 0], pa.int64()),
        }
    )
    wanted = ("label", "hh", "ids", "price", "flag")
    data = odps_format(["t/ds=20200101/hh=03"], wanted)
    (got,) = RowSource(data, ReadPlan(8))
    assert got.columns.to_pydict() == {
        "label": [1, 0],
        "hh": ["03", "03"],
        "ids": [[1, 2], []],
        "price": [0.5, None],
        "flag": [True, None],
    }
    assert reached.requests[-1][1]["columns"] == "label,ids,price,flag"
    raw = odps_format(["t/ds=20200101/hh=03"], ("label",), keep_raw=True)
    assert raw.schema.names == ["label", "more", "flag", "price", "ids", "ds", "hh"]
    some = odps_format(["t/ds=20200101/hh=03"], ("label",), keep_raw=True, selected=["label", "ids"])
    assert some.schema.names == ["label", "ids"]
    with pytest.raises(ConfigError, match="selected_cols: the model also needs price"):
        odps_format(["t/ds=20200101/hh=03"], ("label", "price"), selected=["label"])
    with pytest.raises(DataError, match=r"tables/t/ds=20200101/hh=03: there is no column prize"):
        odps_format(["t/ds=20200101/hh=03"], ("prize",))


def test_tables_of_other_types_come_in_one_that_has_all_values(reached):
    reached.tables["a", ""] = pa.table({"n": pa.array([1, 2], pa.int64())})
    reached.tables["b", ""] = pa.table({"n": ["3", "4"]})
    reached.tables["c", ""] = pa.table({"n": ["five"]})
    assert numbers(RowSource(odps_format(["a", "b"], ("n",)), ReadPlan(3))) == [[1, 2, 3], [4]]
    (block,) = RowSource(odps_format(["a", "c"], ("n",)), ReadPlan(3))
    assert block.columns.to_pydict() == {"n": ["1", "2", "five"]}
    reached.tables["d", ""] = pa.table({"n": pa.array([[6]], pa.list_(pa.int64()))})
    with pytest.raises(
        DataError, match="tables/a, row 1, column 'n': is a single int64, but other files have"
    ):
        list(RowSource(odps_format(["a", "d"], ("n",)), ReadPlan(3)))


@pytest.mark.parametrize("fault", ["cut", "checksum", "503"])
def test_a_stream_that_breaks_off_is_gone_on_with(reached, fault, caplog):
    # So much that some of it has come when the stream is cut.
    put_rows(reached, [9000], padding="." * 500)
    data = odps_format(["t0"], block_rows=2000, stretch_rows=6000)
    reached.faults[:] = ["", fault]
    assert np.concatenate(numbers(RowSource(data, ReadPlan(500)))).tolist() == list(range(9000))
    assert "again in" in caplog.text or fault == "503"
    asked = [query["rowrange"] for action, query in reached.requests if action == "rows"]
    assert asked[:2] == ["(0,6000)", "(6000,3000)"]
    if fault == "cut":
        first, rows = (int(number) for number in asked[2].strip("()").split(","))
        assert 6000 < first < 9000
        assert first + rows == 9000


def test_a_service_that_stays_away_ends_the_run(reached, monkeypatch):
    put_rows(reached, [10])
    data = odps_format(["t0"])
    monkeypatch.setenv(retries.VARIABLE, "0.5")
    reached.faults[:] = ["cut"] * 9
    with pytest.raises(StoreGoneError, match=r"tables/t0: the store has failed .* broken"):
        list(RowSource(data, ReadPlan(5)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("odps://project/tables/none", "tables/none: can't be read: NoSuchObject: There is no such table"),
        (
            "odps://project/tables/t0/ds=1",
            "ds=1: can't be read: NoSuchObject: There is no such table or part",
        ),
        ("odps://other/tables/t0", "can't be read: NoSuchProject: There is no such project"),
    ],
)
def test_what_is_not_there(reached, path, message):
    put_rows(reached, [3])
    with pytest.raises(DataError, match=message):
        OdpsFormat(maxcompute.tables([path], "train_input_path"), columns("n"))


@pytest.mark.parametrize(
    "path",
    [
        *("odps://project", "odps://project/t0", "odps://project/table/t0", "odps://project/tables/t 0"),
        *("odps://project/tables/t0/ds", "odps://project/tables/t0/ds=", "odps://project/tables/t0/ds='1'"),
        *("rows.csv", "s3://bucket/rows.csv", "", " , "),
    ],
)
def test_paths_that_are_no_tables(path):
    with pytest.raises(ConfigError, match="train_input_path: "):
        maxcompute.tables([path], "train_input_path")


def test_keys_come_from_the_file_and_are_not_shown(reached, monkeypatch, tmp_path):
    put_rows(reached, [3])
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "another")
    with pytest.raises(DataError, match="Unauthorized") as caught:
        odps_format(["t0"])
    assert SECRET not in str(caught.value)
    file = tmp_path / "odps.ini"
    file.write_text(
        f"# of odpscmd\nproject_name=x\naccess_id={KEY}\naccess_key = {SECRET}\nend_point=http://{reached.address}\n"
    )
    monkeypatch.setenv(maxcompute.CONFIG_VARIABLE, str(file))
    assert odps_format(["t0"]).files[0].size() == 3
    file.write_text("access_id=x\n")
    monkeypatch.delenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    with pytest.raises(StorageError, match="keys and address are not set; give a file with the lines"):
        odps_format(["t0"])
    monkeypatch.setenv(maxcompute.CONFIG_VARIABLE, str(tmp_path / "none.ini"))
    with pytest.raises(StorageError, match=r"none\.ini can't be read: No such file"):
        odps_format(["t0"])


def test_without_pyodps(reached, monkeypatch):
    put_rows(reached, [3])
    maxcompute._connected.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "odps", None)
    with pytest.raises(StorageError, match=r"need the extra odps; run pip install pyodps, or export"):
        odps_format(["t0"])
