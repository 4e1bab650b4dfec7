"""Everything in a checkpoint, under EasyRec's names."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.layers.banks.dynamic import DynamicBank, IdView, InitialView, RowView
from hvdrec.layers.banks.strategy import BankStrategy, Whole
from hvdrec.layers.variables import variable_key
from hvdrec.models.recommender import Recommender
from hvdrec.optim.base import Optimizer


def model_entries(recommender: Recommender) -> list[SavedTensor]:
    """The model's variables; each embedding table of a bank under its own name."""
    strategy = recommender.strategy
    found = []
    for i, bank in enumerate(strategy.banks):
        if isinstance(bank, DynamicBank):
            found.extend(_ids(bank))
        found.extend(_tables(strategy, i, bank.variable, ""))
    found.extend(SavedTensor(name, v, None) for name, v in recommender.store.variables_by_name.items())
    return found


def entries(recommender: Recommender, optimizer: Optimizer, global_step: tf.Variable) -> list[SavedTensor]:
    """The model's variables, the optimizer's slots and scalars, and `global_step`."""
    found, strategy = model_entries(recommender), recommender.strategy
    for slot, by_variable in optimizer.slots.items():
        rest = dict(by_variable)
        for i, bank in enumerate(strategy.banks):
            slots = [rest.pop(name) for v in bank.parts if (name := variable_key(v)) in rest]
            if slots:
                found.extend(_tables(strategy, i, bank.whole(slot, slots), f"/{slot}"))
        found.extend(SavedTensor(f"{name}/{slot}", variable, None) for name, variable in rest.items())
    found.extend(SavedTensor(name, variable, None) for name, variable in optimizer.scalars.items())
    found.append(SavedTensor("global_step", global_step, None))
    return found


def _ids(bank: DynamicBank) -> list[SavedTensor]:
    """The ids of tables without a fixed size, and their initial rows; they come before the rows."""
    found: list[SavedTensor] = []
    for number, table in enumerate(bank.layout.tables):
        initial = f"{table.name}/initial_values"
        found.append(SavedTensor(initial, InitialView(initial, bank, number), None))
        for with_row, suffix in ((True, ""), (False, "_filtered")):
            for part, what in enumerate(IdView.PARTS):
                name = f"{table.name}/{what}{suffix}"
                found.append(SavedTensor(name, IdView(name, bank, number, part, with_row), None))
    return found


def _tables(strategy: BankStrategy, bank: int, variable: Whole, suffix: str) -> list[SavedTensor]:
    of = strategy.banks[bank]
    if isinstance(of, DynamicBank):
        assert isinstance(variable, tf.Variable)
        return [
            SavedTensor(name, RowView(name, of, number, variable, suffix), None)
            for number, name in enumerate(f"{table.name}{suffix}" for table in of.layout.tables)
        ]
    return [
        SavedTensor(table.name + suffix, variable, (offset, offset + table.rows))
        for table, offset in zip(of.layout.tables, of.layout.offsets, strict=True)
    ]
