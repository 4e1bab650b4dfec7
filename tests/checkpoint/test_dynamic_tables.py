"""Restoring tables without a fixed size from checkpoints that no run can have saved."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hvdrec.checkpoint.finetune import fine_tune
from hvdrec.checkpoint.names import SavedTensor
from hvdrec.checkpoint.restore import restore_exactly
from hvdrec.checkpoint.store import Store
from hvdrec.errors import CheckpointError, DamagedError
from hvdrec.layers import initializers
from hvdrec.layers.banks.dynamic import DynamicBank, IdView, RowView
from hvdrec.layers.banks.strategy import BankLayout, BankTable


@dataclasses.dataclass(frozen=True)
class _Rules:
    filter_freq: int
    steps_to_live: int


GOOD = {
    "t/keys": np.array([2, 5, 2**62], np.int64),
    "t/freqs": np.array([4, 3, 9], np.int64),
    "t/versions": np.array([1, 7, 7], np.int64),
    "t/keys_filtered": np.array([1], np.int64),
    "t/freqs_filtered": np.array([2], np.int64),
    "t/versions_filtered": np.array([6], np.int64),
    "t": np.arange(6, dtype=np.float32).reshape(3, 2),
}


def _bank() -> tuple[DynamicBank, list[SavedTensor]]:
    table = BankTable("t", 4, initializers.random_normal(), _Rules(3, 5))
    bank = DynamicBank(BankLayout("bank_0", 2, (table,)), 3)
    views: list[IdView | RowView] = [
        IdView(f"t/{part}{suffix}", bank, 0, number, with_row)
        for with_row, suffix in ((True, ""), (False, "_filtered"))
        for number, part in enumerate(IdView.PARTS)
    ]
    views.append(RowView("t", bank, 0, bank.variable, ""))
    return bank, [SavedTensor(view.name, view, None) for view in views]


def _saved(folder: object, tensors: dict[str, np.ndarray]) -> str:
    entries = [SavedTensor(name, tf.Variable(value), None) for name, value in tensors.items()]
    return Store(str(folder)).save(7, entries, {})


def test_every_part_comes_back(tmp_path):
    bank, entries = _bank()
    restore_exactly(_saved(tmp_path, GOOD), entries)
    for entry in entries:
        np.testing.assert_array_equal(entry.variable.numpy(), GOOD[entry.name], err_msg=entry.name)
    assert len(bank.map) == 4


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("t/keys", [5, 2, 2**62], "t/keys has 5 before 2, and must ascend"),
        ("t/keys", [2, 2, 5], "t/keys has 2 before 2, and must ascend"),
        ("t/keys", [-3, 2, 5], "t/keys has the negative number -3"),
        ("t/freqs", [4, 3], "t/freqs has 2 values for 3 ids"),
        ("t/freqs", [4, -3, 9], "t/freqs has the negative number -3"),
        ("t/versions", [1, -(2**63), 7], "t/versions has the negative number"),
        ("t/keys_filtered", [5], "t/keys_filtered has 5, which already has a row"),
    ],
)
def test_ids_that_contradict_each_other(tmp_path, name, value, message):
    """The values of rows are in the order of the ids, so other ids would silently get them."""
    prefix = _saved(tmp_path, {**GOOD, name: np.array(value, np.int64)})
    with pytest.raises(DamagedError, match=message) as error:
        restore_exactly(prefix, _bank()[1])
    assert str(error.value).startswith(prefix)
    assert "\n" not in str(error.value)
    if name != "t/versions":
        with pytest.raises(DamagedError, match=message):
            fine_tune(prefix, _bank()[1])


def test_rows_without_their_ids(tmp_path):
    """Nothing says to which ids they belong."""
    prefix = _saved(tmp_path, GOOD)
    with pytest.raises(CheckpointError, match="t has 3 rows for 0 ids"):
        fine_tune(prefix, _bank()[1], filters=["/"])
