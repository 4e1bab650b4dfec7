"""Moving variables to huge pages."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.ops.huge_pages import use_huge_pages

ENABLED = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
MEGABYTE = 1 << 20
PAGE = 2 * MEGABYTE


def advised(first: int, last: int) -> bool:
    """Whether the kernel was asked for huge pages for all of this process's memory from `first` to `last`."""
    covered = first
    for region in re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path("/proc/self/smaps").read_text(), flags=re.M
    ):
        bounds = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", region)
        flags = re.search(r"^VmFlags:(.*)$", region, re.M)
        if (
            bounds
            and flags
            and int(bounds[1], 16) <= covered < int(bounds[2], 16)
            and "hg" in flags[1].split()
        ):
            covered = int(bounds[2], 16)
    return covered >= last


@pytest.mark.skipif(not ENABLED.exists(), reason="no huge pages")
def test_large_variables_move_and_keep_their_values() -> None:
    values = np.random.default_rng(1).normal(size=(20 * MEGABYTE // 64, 16)).astype(np.float32)
    integers = np.arange(5 * MEGABYTE, dtype=np.int32)
    large = [tf.Variable(values), tf.Variable(integers)]
    moved = use_huge_pages([large[0], tf.Variable([1.0]), large[1]])
    # Only whole pages count, and each variable may begin and end within one.
    assert 34 * MEGABYTE <= moved <= 40 * MEGABYTE
    for variable, expected in zip(large, (values, integers), strict=True):
        held = np.asarray(memoryview(variable.read_value()))
        first = held.__array_interface__["data"][0]
        assert advised(-(-first // PAGE) * PAGE, (first + held.nbytes) // PAGE * PAGE)
        np.testing.assert_array_equal(held, expected)


def test_small_variables_stay() -> None:
    assert use_huge_pages([tf.Variable(tf.zeros([MEGABYTE]))]) == 0
    assert use_huge_pages([]) == 0
