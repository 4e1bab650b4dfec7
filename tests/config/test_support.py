"""The tables of what configs may use, against the protos and the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import re

import pytest

from hvdrec.config import protos, support
from hvdrec.config.losses import SPECS as LOSSES
from hvdrec.config.models import matching
from hvdrec.config.models.registry import SPECS
from hvdrec.config.protos import (
    dataset_pb2,
    easy_rec_model_pb2,
    eval_pb2,
    feature_config_pb2,
    loss_pb2,
    optimizer_pb2,
    pipeline_pb2,
    train_pb2,
)
from hvdrec.losses import registry as losses
from hvdrec.metrics import registry as metrics
from hvdrec.models import candidate_frequency
from hvdrec.models.registry import MODELS
from hvdrec.optim import registry as optimizers
from hvdrec.optim.schedules import registry as schedules

ROOT = pathlib.Path(__file__).resolve().parents[2] / "hvdrec"
_PACKAGE = "hvdrec.protos."
#: Read by a name that the code puts together, or takes from `WhichOneof`.
_COMPOSED = {"parquet_train_input", "parquet_eval_input", "constant_initializer"}


def messages() -> dict:
    found = {}

    def add(descriptor) -> None:
        found[descriptor.full_name.removeprefix(_PACKAGE)] = descriptor
        for nested in descriptor.nested_types:
            add(nested)

    for path in pathlib.Path(protos.__file__).parent.glob("*.proto"):
        file = importlib.import_module(f"{protos.__name__}.{path.stem}_pb2").DESCRIPTOR
        for descriptor in file.message_types_by_name.values():
            add(descriptor)
    return found


MESSAGES = messages()


@pytest.mark.parametrize("table", ["REFUSED", "IGNORED", "SILENT", "RANGES"])
def test_the_tables_name_fields_that_there_are(table):
    for name in getattr(support, table):
        message, _, field = name.rpartition(".")
        assert field in MESSAGES[message].fields_by_name, name


def test_no_field_is_in_two_tables():
    tables = [set(support.REFUSED), set(support.IGNORED), set(support.SILENT)]
    assert len(set().union(*tables)) == sum(map(len, tables))


def oneof(message, name: str) -> set[str]:
    return {f.name for f in message.DESCRIPTOR.oneofs_by_name[name].fields}


def test_values_and_reasons_are_names_that_there_are():
    known = {
        "INPUT_TYPES": set(dataset_pb2.DatasetConfig.InputType.keys()),
        "FEATURE_TYPES": set(feature_config_pb2.FeatureConfig.FeatureType.keys()),
        "STRATEGIES": set(train_pb2.DistributionStrategy.keys()),
        "LOSSES": set(loss_pb2.LossType.keys()),
        "OPTIMIZERS": oneof(optimizer_pb2.Optimizer, "optimizer"),
        "SCHEDULES": oneof(optimizer_pb2.LearningRate, "learning_rate"),
        "METRICS": oneof(eval_pb2.EvalMetrics, "metric"),
    }
    for table, names in known.items():
        assert set(getattr(support, table)) <= names, table
    assert set(support.REASONS) <= set().union(*known.values())
    blocks = oneof(easy_rec_model_pb2.EasyRecModel, "model")
    assert {spec.block for spec in SPECS.values()} <= blocks


def reachable() -> list:
    """Every field that a config in use can set: not below one that is refused or without effect."""
    listed = {*support.REFUSED, *support.IGNORED, *support.SILENT}
    blocks = oneof(easy_rec_model_pb2.EasyRecModel, "model")
    unused = blocks - {spec.block for spec in SPECS.values()}
    found, seen = [], set()

    def enter(descriptor) -> None:
        name = descriptor.full_name.removeprefix(_PACKAGE)
        if name in seen or not descriptor.full_name.startswith(_PACKAGE):
            return
        seen.add(name)
        for field in descriptor.fields:
            refused = field.containing_oneof is not None and field.name in support.REASONS
            if (
                f"{name}.{field.name}" in listed
                or (name == "EasyRecModel" and field.name in unused)
                or refused
            ):
                continue
            found.append(field)
            if field.message_type is not None:
                enter(field.message_type)

    enter(pipeline_pb2.EasyRecConfig.DESCRIPTOR)
    return found


def names_in(path: pathlib.Path) -> set[str]:
    """The attributes and words of texts in a file's code, docstrings and comments left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            found.update(re.findall(r"\w+", node.value))
    return found


def with_imports(module) -> set[pathlib.Path]:
    """A module's file and those of hvdrec that it takes functions and classes from."""
    values = (module, *vars(module).values())
    modules = (value if inspect.ismodule(value) else inspect.getmodule(value) for value in values)
    return {pathlib.Path(m.__file__) for m in modules if getattr(m, "__name__", "").startswith("hvdrec.")}


def owners() -> dict[str, set[pathlib.Path]]:
    """Which files have to read the fields of a message, for those that belong to an entry of a registry."""
    found: dict[str, set[pathlib.Path]] = {}

    def add(message, *modules) -> None:
        for module in modules:
            found.setdefault(message.full_name.removeprefix(_PACKAGE), set()).update(with_imports(module))

    for name, spec in SPECS.items():
        classes = (*type(spec).__mro__, *MODELS[name].__mro__)
        add(spec.message, *(inspect.getmodule(c) for c in classes if c.__module__.startswith("hvdrec.")))
    fields = loss_pb2.Loss.DESCRIPTOR.fields_by_name
    for kind, build in losses.BUILDERS.items():
        if LOSSES[kind].param_field:
            add(fields[LOSSES[kind].param_field].message_type, inspect.getmodule(build))
    # Matching models read the options of their loss, too.
    add(fields["softmax_cross_entropy"].message_type, candidate_frequency, matching)
    for oneof_of, builders in (
        (eval_pb2.EvalMetrics, metrics.BUILDERS),
        (optimizer_pb2.Optimizer, optimizers.BUILDERS),
        (optimizer_pb2.LearningRate, schedules.BUILDERS),
    ):
        for name, build in builders.items():
            add(oneof_of.DESCRIPTOR.fields_by_name[name].message_type, inspect.getmodule(build))
    return found


def test_every_field_is_read_or_listed():
    """A field that no code reads would be passed over without a word.

    The fields of a model's block, a loss, a metric, an optimizer or a schedule must be named in the code that its
    registry builds it by, with what that imports; all others anywhere in the code.
    """
    paths = [p for p in ROOT.rglob("*.py") if not p.name.endswith("_pb2.py") and p.name != "support.py"]
    names = {path: names_in(path) for path in paths}
    everywhere = set().union(*names.values()) | _COMPOSED
    by_message = owners()
    fields = reachable()
    assert len(fields) > 200
    assert len(by_message) > 25
    unread = []
    for field in fields:
        message = field.containing_type.full_name.removeprefix(_PACKAGE)
        known = everywhere
        if message in by_message:
            known = set().union(*(names.get(path, set()) for path in by_message[message]))
        if field.name not in known:
            unread.append(f"{message}.{field.name}")
    assert unread == [], "list these in config/support.py: REFUSED, IGNORED or SILENT"


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        (support.Range(), [-1e300, 0], [], ""),
        (support.Range(0), [0, 5], [-1e-9], "at least 0"),
        (support.Range(0, open_low=True), [1e-9], [0], "above 0"),
        (support.Range(0, 1, open_high=True), [0, 0.99], [1, -1], "at least 0 and below 1"),
        (support.Range(high=0), [0, -5], [1], "at most 0"),
    ],
)
def test_ranges(bounds, inside, outside, words):
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)
    assert "a" not in bounds
    assert str(bounds) == words
