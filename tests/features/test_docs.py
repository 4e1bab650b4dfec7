"""The examples of docs/features.md."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from features.packing import ids, several
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.features import Packer, build_plan
from hvdrec.features.plan import FeaturePlan

_TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "features.md").read_text()
_FIELDS, *_FEATURES = re.findall(r"```protobuf\n(.*?)```", _TEXT, re.DOTALL)
_EXAMPLE = re.compile(r"```protobuf\n(features [^`]*)```\n\n\|[^\n]*\n\| --- \| --- \|\n((?:\|[^\n]*\n)+)")
_EXAMPLES = _EXAMPLE.findall(_TEXT)


def test_every_feature_has_its_example() -> None:
    assert [feature for feature, _ in _EXAMPLES] == _FEATURES


def _found(plan: FeaturePlan, arrays: dict[str, np.ndarray], rows: int) -> list[Any]:
    if "dense" in arrays:
        return arrays["dense"].tolist()
    if "bank0/index" in arrays:
        return [None if i < 0 else i for i in ids(arrays)]
    return [[list(pair) for pair in row] for row in several(plan, arrays, rows)]


@pytest.mark.parametrize(("feature", "table"), _EXAMPLES, ids=range(len(_EXAMPLES)))
def test_examples_come_out_as_written(feature: str, table: str) -> None:
    lines = [re.fullmatch(r"\| `(.*)` \| `(.*)` \|", line) for line in table.splitlines()]
    cells, expected = zip(*((m[1].replace(r"\|", "|"), json.loads(m[2])) for m in lines if m), strict=True)
    inputs = [json.loads(c) if c.startswith("[") else [json.loads(c)] for c in cells]
    config = text_format.Parse(
        f"data_config {{ input_type: CSVInput {_FIELDS} }} feature_config {{ {feature} }}"
        'model_config { model_class: "DCN" dcn {} feature_groups { group_name: "all" } }',
        pipeline_pb2.EasyRecConfig(),
    )
    used = config.feature_config.features[0]
    name = used.feature_name or used.input_names[0]
    config.model_config.feature_groups[0].feature_names.append(name)
    plan = build_plan(config)
    columns = {n: [row[i].encode() for row in inputs] for i, n in enumerate(used.input_names)}
    arrays = [pa.array(columns.get(f.name, [b""] * len(cells)), pa.binary()) for f in plan.fields]
    batch = pa.RecordBatch.from_arrays(arrays, [f.name for f in plan.fields])
    found = _found(plan, Packer(plan).pack(batch, str)[1], len(cells))
    for got, wanted in zip(found, expected, strict=True):
        if isinstance(wanted, list):
            np.testing.assert_allclose(got, wanted, rtol=1e-5)
        else:
            assert got == wanted
