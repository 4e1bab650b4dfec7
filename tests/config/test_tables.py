"""The names in the config package, compared with what the packages above it can build."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from hvdrec.config import activations, feature_values, support
from hvdrec.config.layers.spec import INITIALIZERS
from hvdrec.data import ALL_INPUT_TYPES
from hvdrec.features.registry import FEATURE_TYPES
from hvdrec.features.serving import raw_feature
from hvdrec.layers import activations as functions
from hvdrec.layers import initializers
from hvdrec.optim.registry import BUILDERS as OPTIMIZERS
from hvdrec.optim.schedules.registry import BUILDERS as SCHEDULES


@pytest.mark.parametrize(
    ("named", "built"),
    [
        (support.INPUT_TYPES, ALL_INPUT_TYPES),
        (support.FEATURE_TYPES, FEATURE_TYPES),
        (support.OPTIMIZERS, OPTIMIZERS),
        (support.SCHEDULES, SCHEDULES),
        (activations.NAMES, functions.supported()),
        (INITIALIZERS, initializers.NAMED),
        (feature_values.POOLS, raw_feature.POOLS),
        ({"", *feature_values.NORMALIZERS}, raw_feature.FUNCTIONS),
    ],
    ids=[
        "inputs",
        "features",
        "optimizers",
        "schedules",
        "activations",
        "initializers",
        "pools",
        "functions",
    ],
)
def test_a_table_names_what_can_be_built_and_nothing_else(
    named: Collection[str], built: Collection[str]
) -> None:
    assert len(set(named)) == len(named)
    assert set(named) == set(built)
