"""Every form in which Parquet files can store a value, for every type of feature: the same batches as from text."""

from __future__ import annotations

import decimal
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format

from hvdrec.config.checks.check import check
from hvdrec.config.config import Config
from hvdrec.config.protos import pipeline_pb2
from hvdrec.features import build_plan
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.input import open_batches

ROWS = 40
FIELDS = {
    "label": "INT32",
    "weight": "FLOAT",
    "uid": "INT64",
    "word": "STRING",
    "price": "DOUBLE",
    "vec": "STRING",
    "tags": "STRING",
    "weights": "STRING",
    "nums": "STRING",
    "hist": "STRING",
    "steps": "STRING",
}
FEATURES = """
features { input_names: "uid" num_buckets: 32 embedding_dim: 4 }
features { feature_name: "hashed" input_names: "uid" hash_bucket_size: 32 embedding_dim: 4 }
features { input_names: "word" hash_bucket_size: 32 embedding_dim: 4 }
features { input_names: "price" feature_type: RawFeature boundaries: [1, 2, 5] embedding_dim: 4 }
features { input_names: "vec" feature_type: RawFeature raw_input_dim: 3 separator: "|" }
features { feature_name: "tags" input_names: ["tags", "weights"] feature_type: TagFeature hash_bucket_size: 32 embedding_dim: 4 }
features { input_names: "nums" feature_type: TagFeature num_buckets: 10 embedding_dim: 4 }
features { feature_name: "cross" input_names: ["word", "uid"] feature_type: ComboFeature hash_bucket_size: 64 embedding_dim: 4 }
features { feature_name: "more" input_names: ["price", "uid"] feature_type: ExprFeature expression: "price > uid" }
features { input_names: "hist" feature_type: SequenceFeature separator: "|" hash_bucket_size: 32 embedding_dim: 4
           sequence_combiner { attention {} } }
features { input_names: "steps" feature_type: SequenceFeature sub_feature_type: RawFeature separator: "|" boundaries: [0.5, 1]
           embedding_dim: 4 sequence_combiner { attention {} } }
"""
NAMES = ("uid", "hashed", "word", "price", "vec", "tags", "nums", "cross", "more", "hist", "steps")


def _values() -> dict[str, list[Any]]:
    """Values of all columns; every number is exact in float32."""
    rng = np.random.default_rng(0)

    def numbers(least: int, most: int, length: int, divided: int = 1) -> list[Any]:
        found = rng.integers(least, most, length).tolist()
        return found if divided == 1 else [value / divided for value in found]

    lengths = rng.integers(1, 4, ROWS).tolist()
    return {
        "label": numbers(0, 2, ROWS),
        "weight": numbers(2, 8, ROWS, 4),
        "uid": [None if i % 9 == 0 else value for i, value in enumerate(numbers(0, 20, ROWS))],
        "word": [None if i % 7 == 0 else f"w{value}" for i, value in enumerate(numbers(0, 9, ROWS))],
        "price": [None if i % 11 == 0 else value for i, value in enumerate(numbers(0, 40, ROWS, 4))],
        "vec": [numbers(0, 16, 3, 8) for _ in range(ROWS)],
        "tags": [[f"t{value}" for value in numbers(0, 9, length)] for length in lengths],
        "weights": [numbers(1, 8, length, 4) for length in lengths],
        "nums": [numbers(0, 9, length) for length in lengths],
        "hist": [numbers(0, 20, length) for length in lengths],
        "steps": [numbers(0, 8, length, 4) for length in lengths],
    }


VALUES = _values()


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(_text, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plain() -> dict[str, pa.Array]:
    return {name: pa.array(column) for name, column in VALUES.items()}


def _unusual() -> dict[str, pa.Array]:
    """Dictionaries, decimals, other widths, large and fixed-size lists."""

    def decimals(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([None if v is None else decimal.Decimal(str(v)) for v in VALUES[name]], kind)

    tags = pa.array(VALUES["tags"])
    return {
        "label": pa.array(VALUES["label"], pa.uint8()),
        "weight": decimals("weight", pa.decimal128(6, 2)),
        "uid": pa.array(VALUES["uid"], pa.float64()),
        "word": pa.array(VALUES["word"]).dictionary_encode(),
        "price": decimals("price", pa.decimal128(20, 6)),
        "vec": pa.array(VALUES["vec"], pa.list_(pa.float64(), 3)),
        "tags": pa.ListArray.from_arrays(tags.offsets, tags.values.dictionary_encode()),
        "weights": pa.array(VALUES["weights"], pa.large_list(pa.float32())),
        "nums": pa.array(VALUES["nums"], pa.large_list(pa.int16())),
        "hist": pa.array([[str(v) for v in row] for row in VALUES["hist"]], pa.large_list(pa.large_string())),
        "steps": pa.array(VALUES["steps"], pa.large_list(pa.float32())),
    }


def _texts() -> dict[str, pa.Array]:
    return {name: pa.array(list(map(_text, column)), pa.large_string()) for name, column in VALUES.items()}


def _with_a_value_for_nothing() -> dict[str, pa.Array]:
    """-1 in place of missing values, and in lists besides the others."""
    found = _plain()
    for name in ("uid", "price"):
        found[name] = pa.array([-1 if v is None else v for v in VALUES[name]], found[name].type)
    found["word"] = pa.array(["-1" if v is None else v for v in VALUES["word"]])
    for name in ("tags", "weights", "nums", "hist", "steps"):
        nothing = "-1" if name == "tags" else -1
        rows = [[*row, nothing] if i % 3 else [nothing, *row] for i, row in enumerate(VALUES[name])]
        found[name] = pa.array(rows, found[name].type)
    return found


def _batches(path: pathlib.Path, kind: str, ignored: str = "") -> list[dict[str, np.ndarray]]:
    fields = " ".join(
        f'input_fields {{ input_name: "{name}" input_type: {declared} '
        f"{ignored if name not in ('label', 'weight', 'vec') else ''} }}"
        for name, declared in FIELDS.items()
    )
    names = " ".join(f'feature_names: "{name}"' for name in NAMES)
    text = f"""train_input_path: "{path}" model_dir: "m"
    train_config {{ num_steps: 1 optimizer_config {{ sgd_optimizer {{ learning_rate {{
      constant_learning_rate {{ learning_rate: 0.1 }} }} }} }} }}
    data_config {{ {fields} label_fields: "label" sample_weight: "weight" input_type: {kind} batch_size: 16 shuffle: false
      num_epochs: 1 }}
    feature_config {{ {FEATURES} }}
    model_config {{ model_class: "MultiTower" feature_groups {{ group_name: "all" {names} wide_deep: DEEP }}
      multi_tower {{ towers {{ input: "all" dnn {{ hidden_units: 4 }} }} final_dnn {{ hidden_units: 4 }} }} }}"""
    proto = text_format.Parse(text, pipeline_pb2.EasyRecConfig())
    check(Config(proto, "x.config"))
    with open_batches(proto, build_plan(proto), SingleReplica(), True) as batches:
        return [batch.arrays for batch in batches]


@pytest.mark.parametrize("columns", [_plain, _unusual, _texts, _with_a_value_for_nothing])
def test_batches_are_those_of_text(
    tmp_path: pathlib.Path, columns: Callable[[], dict[str, pa.Array]]
) -> None:
    lines = zip(*(map(_text, column) for column in VALUES.values()), strict=True)
    (tmp_path / "a.csv").write_text("".join(",".join(cells) + "\n" for cells in lines))
    expected = _batches(tmp_path / "a.csv", "CSVInput")
    pq.write_table(pa.table(columns()), tmp_path / "a.parquet", row_group_size=15)
    ignored = 'ignore_val: "-1"' if columns is _with_a_value_for_nothing else ""
    found = _batches(tmp_path / "a.parquet", "HiveParquetInput", ignored)
    assert len(found) == len(expected) == 3
    for own, other in zip(found, expected, strict=True):
        assert own.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_array_equal(own[name], array, err_msg=name)
