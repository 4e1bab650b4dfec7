"""Everything a checkpoint holds, under the names EasyRec gives it."""

from __future__ import annotations

import tensorflow as tf

from hvdrec.checkpoint.names import SavedTensor
from hvdrec.features.plan import Bank
from hvdrec.layers.partitioned import PartitionedVariable
from hvdrec.layers.variables import variable_key
from hvdrec.models.recommender import Recommender
from hvdrec.optim.base import Optimizer


def model_entries(recommender: Recommender) -> list[SavedTensor]:
    """The model's variables; each embedding table of a bank under its own name."""
    found = [
        entry
        for bank, layout in zip(recommender.banks, recommender.plan.banks, strict=True)
        for entry in _tables(layout, bank.variable, "")
    ]
    found.extend(SavedTensor(name, v, None) for name, v in recommender.store.variables_by_name.items())
    return found


def entries(recommender: Recommender, optimizer: Optimizer, global_step: tf.Variable) -> list[SavedTensor]:
    """The model's variables, the optimizer's slots and scalars, and `global_step`."""
    found = model_entries(recommender)
    for slot, by_variable in optimizer.slots.items():
        rest = dict(by_variable)
        for bank, layout in zip(recommender.banks, recommender.plan.banks, strict=True):
            parts = [rest.pop(name) for p in bank.parts if (name := variable_key(p)) in rest]
            if parts:
                whole = (
                    parts[0]
                    if len(parts) == 1
                    else PartitionedVariable(f"{bank.variable.name}/{slot}", parts)
                )
                found.extend(_tables(layout, whole, f"/{slot}"))
        found.extend(SavedTensor(f"{name}/{slot}", variable, None) for name, variable in rest.items())
    found.extend(SavedTensor(name, variable, None) for name, variable in optimizer.scalars.items())
    found.append(SavedTensor("global_step", global_step, None))
    return found


def _tables(bank: Bank, variable: tf.Variable, suffix: str) -> list[SavedTensor]:
    return [SavedTensor(t.name + suffix, variable, (t.offset, t.offset + t.rows)) for t in bank.tables]
