"""Shared by the tests of the packer: a packer for a few features, and ways to split its arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.features import Packer, build_plan
from hvdrec.features.plan import FeaturePlan
from hvdrec.models.inputs import ModelInputs

CELLS = {
    "label": "INT32",
    "s": "STRING",
    "t": "STRING",
    "n": "INT32",
    "l": "INT64",
    "x": "DOUBLE",
    "f": "FLOAT",
    "v": "STRING",
    "b": "BOOL",
}


def packer_for(features: str, names: list[str], ignore_error: bool = False) -> Packer:
    """A packer for the text of some `features`, all in one group; its plan is its attribute `plan`."""
    fields = "\n".join(f'input_fields {{ input_name: "{n}" input_type: {t} }}' for n, t in CELLS.items())
    text = f"""data_config {{ {fields} label_fields: "label" input_type: CSVInput }}
    feature_config {{ {features} }}
    model_config {{ model_class: "DCN" feature_groups {{ group_name: "all" feature_names: {names} }} dcn {{}} }}
    """
    plan = build_plan(text_format.Parse(text.replace("'", '"'), pipeline_pb2.EasyRecConfig()))
    packer = Packer(plan, ignore_error)
    packer.plan = plan  # type: ignore[attr-defined]
    return packer


def pack(packer: Packer, **columns: list[bytes] | pa.Array) -> dict[str, np.ndarray]:
    """The arrays of some cells; fields without any are empty."""
    fields = packer.plan.fields  # type: ignore[attr-defined]
    rows = len(next(iter(columns.values())))
    given = {n: c if isinstance(c, pa.Array) else pa.array(c, pa.binary()) for n, c in columns.items()}
    arrays = [given.get(f.name, pa.array([b""] * rows, pa.binary())) for f in fields]
    batch = pa.RecordBatch.from_arrays(arrays, [f.name for f in fields])
    found, packed = packer.pack(batch, lambda i: f"f.csv, row {i + 1}")
    assert found == rows
    return packed


def ids(packed: dict[str, np.ndarray], slot: int = 0) -> list[int]:
    """The bank row of each row's id in a single-valued slot, -1 for none."""
    index = packed["bank0/index"][:, slot]
    return [int(packed["bank0/rows"][i - 1]) if i else -1 for i in index]


def several(plan: FeaturePlan, packed: dict[str, np.ndarray], rows: int) -> list[list[tuple[int, float]]]:
    """Bank row and coefficient of each value of the first pooled slot, by row."""
    found: list[list[tuple[int, float]]] = [[] for _ in range(rows)]
    values = zip(
        packed["bank0/multi_segment"].tolist(),
        packed["bank0/rows"][packed["bank0/multi_index"] - 1].tolist(),
        packed["bank0/multi_weight"].tolist(),
        strict=True,
    )
    for row, bank_row, weight in values:
        found[row].append((bank_row, weight))
    (combiner,) = plan.banks[0].pooled
    return [[(bank_row, weight / _divisor(row, combiner)) for bank_row, weight in row] for row in found]


def model_inputs(packer: Packer, packed: dict[str, np.ndarray], table: np.ndarray) -> ModelInputs:
    """The inputs of a model for a batch whose only bank contains `table`."""
    batch = {name: tf.constant(array) for name, array in packed.items()}
    batch.setdefault("dense", tf.zeros([_rows(packed), 0]))
    return ModelInputs(packer.plan, batch, [tf.gather(table, packed["bank0/rows"])])  # type: ignore[attr-defined]


def _rows(packed: dict[str, np.ndarray]) -> int:
    return len(packed["label/label"])


def _divisor(values: list[tuple[int, float]], combiner: str) -> float:
    if combiner == "sum":
        return 1.0
    return float(np.linalg.norm([w for _, w in values], ord=1 if combiner == "mean" else 2))
