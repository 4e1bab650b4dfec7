"""Features of several widths in a factorisation machine."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
from small_job import SmallJob

from hvdrec.config import Config

NARROW = ("size: 50 embedding_dim: 4", "size: 50 embedding_dim: 2")


@pytest.mark.parametrize("model", ["FM", "DeepFM"])
def test_narrower_features_are_told(
    tmp_path: pathlib.Path, checked: Callable[[str], Config], model: str
) -> None:
    text = SmallJob(tmp_path / "train.csv", tmp_path / "run", model=model).text()
    assert not any("padded with zeros" in warning for warning in checked(text).warnings)
    (told,) = [w for w in checked(text.replace(*NARROW)).warnings if "padded with zeros" in w]
    assert "narrower than 4" in told
    assert told.endswith("padded with zeros in products: a (2)")
