"""Model classes: each spec has its code, and no other package contains their names."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from hvdrec.config.layers.registry import SPECS as LAYERS
from hvdrec.config.models.registry import SPECS
from hvdrec.config.protos import easy_rec_model_pb2
from hvdrec.models.registry import MODELS

ROOT = pathlib.Path(__file__).resolve().parents[2] / "hvdrec"
CODE = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not path.name.endswith("_pb2.py") and ROOT / "config" / "models" not in path.parents
)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


#: Rooms of the models themselves: the registry, and each class's file.
OWN = {snake(name).replace("_", "") for name in SPECS}


def test_every_spec_has_its_code() -> None:
    assert set(MODELS) == set(SPECS)
    for name, model in MODELS.items():
        assert model.__name__ == name


def test_every_spec_has_a_block_of_the_config() -> None:
    blocks = easy_rec_model_pb2.EasyRecModel.DESCRIPTOR.oneofs_by_name["model"].fields
    assert {spec.block for spec in SPECS.values()} <= {field.name for field in blocks}
    assert all(spec.name == name for name, spec in SPECS.items())


def names_in(path: pathlib.Path) -> set[str]:
    """The words of a file's code: identifiers, attributes and strings, but neither docstrings nor citations."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    docstrings |= {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "source"
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.update(re.findall(r"\w+", node.value))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found.update(alias.name for alias in node.names)
    return found


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_room_names_a_class(path: pathlib.Path) -> None:
    # A tool that writes a first config for a class has to name it.
    if path in (ROOT / "models" / "registry.py", ROOT / "tools" / "create_config_from_excel.py"):
        return
    if ROOT / "models" in path.parents and path.stem.replace("_", "") in OWN:
        return
    blocks = {spec.block for spec in SPECS.values() if spec.block != "fm"}
    # Some are layers too, as the factorisation machine.
    layers = {*LAYERS, *(spec.field for spec in LAYERS.values())}
    if not {ROOT / "layers", ROOT / "config" / "layers"} & {*path.parents}:
        layers = set()
    assert not names_in(path) & (({*SPECS} | blocks) - layers), "what a class is belongs into its spec"
