"""Where variables are placed on servers, and that optimizers compute the same there as here."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdrec.layers.banks.partitioned import PartitionedVariable
from hvdrec.parallel.parameter_server import OnServers

_FOLDER = pathlib.Path(__file__).parent


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.data())
def test_a_table_in_parts_is_read_and_divided_as_one(rows: int, count: int, data: st.DataObject) -> None:
    count = min(count, rows)
    value = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    parts = [tf.Variable(v) for v in PartitionedVariable.deal(np.zeros_like(value), count)]
    table = PartitionedVariable("table", parts)
    assert table.shape == value.shape
    table.assign(value)
    np.testing.assert_array_equal(table.numpy(), value)
    np.testing.assert_array_equal(table.read_value(), value)
    wanted = np.array(data.draw(st.lists(st.integers(0, rows - 1), unique=True)), np.int32)
    np.testing.assert_array_equal(table.gather(tf.constant(wanted)), value[wanted])
    for part, own, values in table.divide(tf.constant(wanted), tf.constant(value[wanted])):
        np.testing.assert_array_equal(tf.gather(part, own), values)
    assert sum(len(d.rows) for d in table.divide(tf.constant(wanted), tf.constant(value[wanted]))) == len(
        wanted
    )


def test_small_tables_stay_whole_and_no_part_is_too_large_for_a_message() -> None:
    placement = OnServers(None, 4, synchronous=False)  # type: ignore[arg-type]
    assert placement.parts(1000, 8) == 1
    assert placement.parts(20_000, 8) == 2
    assert placement.parts(10_000_000, 8) == 4
    assert placement.parts(1_000_000_000, 8) == 30


@pytest.fixture(scope="module")
def report() -> dict[str, dict[str, float]]:
    done = subprocess.run(
        [sys.executable, str(_FOLDER / "server_optimizers.py")],
        cwd=_FOLDER.parents[1],
        env={
            **os.environ,
            "PYTHONPATH": f"{_FOLDER.parents[1]}:{_FOLDER.parent}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_optimizers_do_on_servers_what_they_do_here(report: dict[str, dict[str, float]]) -> None:
    """Adam, asynchronously, is lazy Adam."""
    assert len(report) == 11
    for optimizer, differences in report.items():
        assert differences.pop("moved") > 0.01, optimizer
        for name, difference in differences.items():
            assert difference < 1e-6, (optimizer, name)
