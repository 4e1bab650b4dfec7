"""EasyRec's own losses: value and gradient."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from losses import running

from hvdrec.config.losses import SPECS
from hvdrec.config.models.registry import classes_of_losses
from hvdrec.config.protos import loss_pb2
from hvdrec.losses import registry

#: No golden case exists for these, nor for random negatives.
WITHOUT = {"BINARY_CROSS_ENTROPY_LOSS", "LISTWISE_RANK_LOSS", "LISTWISE_DISTILL_LOSS"}


def _config(case: dict[str, Any]) -> loss_pb2.Loss:
    config = loss_pb2.Loss(loss_type=loss_pb2.LossType.Value(case["name"].split()[0]))
    field = registry.spec(config.loss_type).param_field
    if field is None:
        return config
    parameters = getattr(config, field)
    parameters.SetInParent()
    for name, value in case["params"].items():
        if value is not None:
            setattr(parameters, name.replace("_reg", "_regularization"), value)
    if "session" in case["inputs"]:
        parameters.session_name = "session"
    return config


@pytest.mark.parametrize("kind", sorted({*registry.names()} - {*WITHOUT, *classes_of_losses()}))
def test_losses_and_gradients(shared: pathlib.Path, kind: str) -> None:
    golden = json.loads((shared / "golden" / "losses.json").read_text())
    arrays = {name: np.array(values) for name, values in golden["inputs"].items()}
    done = set()
    for number, case in enumerate(golden["cases"]):
        name = case["name"].split()[0]
        if name != kind:
            continue
        num_class = case["params"].get("num_class", SPECS[name].num_class)
        logits, labels = case["inputs"][:2]
        value, gradient = running.value_and_gradient(
            registry.build(_config(case), num_class),
            arrays[logits],
            arrays[labels],
            arrays["weights"] if "weights" in case["inputs"] else None,
            arrays["session"] if "session" in case["inputs"] else None,
            num_class,
            name == "ZILN_LOSS",
        )
        np.testing.assert_allclose(value, case["loss"], rtol=1e-5, err_msg=f"case {number}, {name}")
        expected = np.array(case["grad"][logits])
        worst = np.abs(gradient - expected).max() / np.abs(expected).max()
        assert worst < 1e-5, (number, name, case["params"], worst)
        done.add(name)
    assert done == {kind}
