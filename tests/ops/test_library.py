"""Loading the TensorFlow ops."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdrec.errors import UserError
from hvdrec.ops import library


@pytest.fixture
def unloaded() -> None:
    library.load_ops.cache_clear()


def test_not_built_is_one_line(unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "PATH", tmp_path / "_ops.so")
    with pytest.raises(
        UserError, match=r"^the TensorFlow ops hvdrec/_ops.so are not built: run `make build`$"
    ):
        library.load_ops()


def test_broken_is_one_line(unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_ops.so").write_bytes(b"not a library")
    monkeypatch.setattr(library, "PATH", tmp_path / "_ops.so")
    with pytest.raises(UserError, match=r"^the TensorFlow ops hvdrec/_ops.so can't be loaded \(.*$") as error:
        library.load_ops()
    assert "make clean build" in str(error.value)
    assert "\n" not in str(error.value)


def test_another_tensorflow_is_refused_by_name(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "_ops.so").write_bytes(b"\x7fELF...hvdrec was built for TensorFlow 2.17.3;...")
    monkeypatch.setattr(library, "PATH", tmp_path / "_ops.so")
    with pytest.raises(
        UserError, match=r"built for TensorFlow 2\.17\.3, but this is TensorFlow 2\.18\.1: install"
    ):
        library.load_ops()


def test_the_library_says_what_it_was_built_for() -> None:
    assert b"hvdrec was built for TensorFlow 2.18.1;" in library.PATH.read_bytes()


def test_an_unknown_implementation() -> None:
    with pytest.raises(ValueError, match="'fast' is not one of native, tensorflow"):
        library.implementation({"native": print, "tensorflow": print}, "fast")
